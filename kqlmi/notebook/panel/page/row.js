// A row of the matrix, and the row of headings.

import { holds, make, span, words } from "./dom.js";

/** Make the headings of the columns at the indices `places`. */
export function headings(view, places) {
  const wanted = words(view.get("search"));
  return [
    make("div", { className: "kqlmi-first", role: "columnheader" }, span("kqlmi-name", "Identity")),
    ...places.map((place) => heading(view.get("columns")[place], wanted)),
  ];
}

function heading(column, wanted) {
  const found = (workflow) => wanted.length > 0 && holds(workflow.title.toLowerCase(), wanted);
  // Matches of the search come first, as a long list is cut off.
  const workflows = [...column.workflows].sort((one, other) => found(other) - found(one));
  const texts = workflows.flatMap((workflow, at) => [
    at > 0 ? "; " : "",
    make(found(workflow) ? "mark" : "span", { textContent: workflow.title }),
    workflow.sure === "documented" ? "" : ` (${workflow.sure})`,
  ]);
  const special = column.cluster_only ? "cluster policy only" : column.known ? "" : "unknown usage, kept";
  return make(
    "div",
    { title: [column.summary, ...workflows.map((one) => one.title)].join("\n"), role: "columnheader" },
    span("kqlmi-name", column.usage),
    special ? span("kqlmi-small", special) : "",
    make("span", { className: "kqlmi-small kqlmi-opens" }, ...(texts.length ? texts : [column.summary])),
  );
}

/** Make an empty row of `count` cells; `click` and `focus` are called with the row that it then shows, and the column. */
export function emptyRow(view, count, { click, focus }) {
  const cells = Array.from({ length: count }, (_, column) => {
    const row = () => Number(control.dataset.row);
    const control = view.overview()
      ? make("button", { type: "button", className: "kqlmi-where", onclick: () => click(row(), column) })
      : make("input", { type: "checkbox", onchange: () => click(row(), column) });
    control.addEventListener("focus", () => focus(row(), column));
    const state = span("kqlmi-small kqlmi-state");
    const content = view.overview() ? control : make("label", {}, control, state);
    return make("div", { className: "kqlmi-cell", role: "gridcell" }, content);
  });
  const name = make(
    "div",
    { className: "kqlmi-first", role: "rowheader" },
    span("kqlmi-name kqlmi-cut"),
    span("kqlmi-small kqlmi-mono kqlmi-cut"),
  );
  return make("div", { className: "kqlmi-row", role: "row" }, name, ...cells);
}

/** Return the checkbox or button of a row in a column. */
export const controlOf = (element, column) => element?.children[column + 1]?.querySelector("input, button");

/** Fill a row with an identity and its states in the columns at `places`; TAB reaches the cell in the column `active`. */
export function fillRow(view, element, { row, identity: [identity, name, badge], states, places, active }) {
  const [first, ...cells] = element.children;
  element.ariaRowIndex = String(row + 2);
  first.title = `${name}\n${identity}`;
  first.firstChild.textContent = badge ? `${name} · ${badge}` : name;
  first.lastChild.textContent = identity === "system" ? "the cluster's own: system" : identity;
  cells.forEach((cell, column) => {
    const state = states[places[column]] ?? {};
    const { usage } = view.get("columns")[places[column]];
    const change = state.changed ? (state.granted ? "to grant" : "to revoke") : "";
    const text = [change, state.text].filter(Boolean).join(", ");
    const control = controlOf(element, column);
    control.dataset.row = String(row);
    control.tabIndex = column === active ? 0 : -1;
    control.ariaDisabled = String(view.frozen());
    control.ariaLabel = `${name}: ${usage}${text ? ` (${text})` : ""}`;
    cell.classList.toggle("kqlmi-changed", Boolean(state.changed));
    cell.title = text;
    if (view.overview()) {
      control.textContent = text || "–";
      return;
    }
    cell.querySelector(".kqlmi-state").textContent = text;
    const pending = view.kernel.pending(identity, usage);
    control.checked = pending ? !state.granted : state.granted;
    // Allowed by another grant: neither ticked nor empty.
    control.indeterminate = !pending && state.allowed && !state.granted;
  });
}
