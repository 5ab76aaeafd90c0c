// The list of scopes, with a search, and selection by mouse or arrow keys.

import { holds, make, middleCut, setMiddleCut, span, words } from "./dom.js";

const MOST = 200; // scopes listed at once; use the search to find others
const MARKS = { u: "unread", x: "refused", c: "● changed" };

export function scopesPart(view) {
  let places = []; // indices into `scopes`, as listed; -1 is all scopes
  let at = 0; // index into `places` of the option that is active for the keyboard
  let shown = null; // the scope that was shown when the list was last drawn
  const search = make("input", { type: "search", placeholder: "Search scopes", ariaLabel: "Search scopes", oninput: draw });
  const options = make("div", { className: "kqlmi-scopes", tabIndex: 0, ariaLabel: "Scopes", role: "listbox" });
  const note = make("div", { className: "kqlmi-small" });

  function draw() {
    const names = view.get("scopes");
    const states = view.get("scope_states");
    const chosen = view.get("scope");
    const wanted = words(search.value);
    const found = names.map((name, place) => place).filter((place) => holds(names[place].toLowerCase(), wanted));
    const listed = [...new Set([-1, ...(chosen < 0 ? [] : [chosen]), ...found.slice(0, MOST)])].sort((a, b) => a - b);
    // Keep the options unless the list changes: replacing them would disturb the mouse and the arrow keys.
    if (JSON.stringify(listed) !== JSON.stringify(places)) {
      const active = places[at];
      places = listed;
      at = Math.max(0, places.indexOf(places.includes(active) ? active : chosen));
      options.replaceChildren(...places.map(option));
    }
    if (chosen !== shown) at = Math.max(0, places.indexOf(chosen));
    shown = chosen;
    [...options.children].forEach((one, index) => {
      const mark = MARKS[states[places[index]]] ?? "";
      one.ariaSelected = String(places[index] === chosen);
      one.ariaLabel = [view.scopeName(places[index]), mark].filter(Boolean).join(", ");
      one.lastChild.textContent = mark;
    });
    const more = found.length - MOST;
    note.textContent = more > 0 ? `${more} more; use the search` : "";
    markActive();
  }

  function option(place, index) {
    const name = middleCut("kqlmi-grow");
    // All but the first two are databases.
    setMiddleCut(name, place < 0 ? "all scopes" : String(view.scopeName(place)).replace(/^database /, ""));
    return make(
      "div",
      {
        id: view.id(`scope-${index}`),
        className: "kqlmi-scope",
        title: view.scopeName(place),
        role: "option",
        onclick: () => choose(index),
      },
      name,
      span("kqlmi-small"),
    );
  }

  function markActive() {
    options.setAttribute("aria-activedescendant", view.id(`scope-${at}`));
    [...options.children].forEach((one, index) => one.classList.toggle("kqlmi-active", index === at));
  }

  function choose(index) {
    at = index;
    if (!view.frozen()) view.ask("choose", { scope: places[index] });
  }

  function onKey(event) {
    if (event.target === search && event.key === "ArrowDown") {
      options.focus();
      return true;
    }
    if (event.target !== options) return false;
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: places.length - 1 };
    if (event.key in moves) {
      at = Math.min(Math.max(moves[event.key], 0), places.length - 1);
      markActive();
      options.children[at].scrollIntoView({ block: "nearest" });
      return true;
    }
    if (event.key !== "Enter" && event.key !== " ") return false;
    choose(at);
    return true;
  }

  const element = make("div", { className: "kqlmi-side" }, search, options, note);
  return { element, draws: [[draw, "scopes scope_states scope"]], onKey };
}
