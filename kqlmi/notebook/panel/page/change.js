// The summary of the change with its buttons, and the field to add a row for another identity.

import { button, make, rest } from "./dom.js";

export function addPart(view) {
  const identity = make("input", {
    type: "text",
    placeholder: "Another identity: object ID, client ID or name",
    ariaLabel: "Object ID of another identity, or its client ID or name",
    spellcheck: false,
  });

  function add() {
    if (identity.value.trim()) view.ask("add", { identity: identity.value.trim() });
  }

  function onKey(event) {
    if (event.target !== identity || event.key !== "Enter") return false;
    add();
    return true;
  }

  const element = make("div", { className: "kqlmi-bar" }, identity, view.askButton("Add a row", add));
  return { element, draws: [[() => (identity.disabled = view.kernel.lost), "working"]], onKey };
}

export function changePart(view) {
  const summary = make("span", { className: "kqlmi-grow", ariaLive: "polite" });
  const preview = button("Preview", () => view.ask("preview"));
  const discard = button("Discard", () => view.ask("discard"));
  const undo = button("Undo", () => view.ask("undo"), { title: "Show the plan that undoes the last change of this panel" });

  function draw() {
    const text = view.get("summary");
    summary.textContent = text || "No change.";
    for (const one of [preview, discard]) rest(one, view.frozen() || !text);
    // While a plan is shown, its own button is the next step.
    preview.className = text && !view.get("preview") ? "kqlmi-main" : "";
    rest(undo, view.frozen() || !view.get("undoable"));
  }

  const element = make("div", { className: "kqlmi-bar kqlmi-change" }, summary, preview, discard, undo);
  return { element, draws: [[draw, "summary undoable preview working"]] };
}
