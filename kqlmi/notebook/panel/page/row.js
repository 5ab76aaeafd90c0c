// A row of the matrix, and the row of headings.

import { button, make, middleCut, setMiddleCut, span } from "./dom.js";

/** Make the headings of the columns, whose buttons call `explain`. */
export function headings(view, columns, explain) {
  return [
    make("div", { className: "kqlmi-first", role: "columnheader" }, span("kqlmi-name", "Identity")),
    ...columns.map(({ place, title }) => heading(view.get("columns")[place], title, explain)),
  ];
}

function heading(column, title, explain) {
  const opens = button("", () => explain(column, opens), { className: "kqlmi-heading", tabIndex: -1, ariaLabel: title });
  // A line may break before each word of a usage's name.
  opens.append(...title.split(/(?<=[a-z])(?=[A-Z])/).flatMap((part, at) => (at > 0 ? [make("wbr"), part] : [part])));
  if (column.broad) opens.prepend("▲ ");
  if (!column.known) opens.append(span("kqlmi-small", "unknown"));
  const texts = [column.usage, column.summary, ...column.workflows.map((one) => one.title)];
  return make("div", { title: texts.join("\n"), role: "columnheader" }, opens);
}

/** Make an empty row of `count` cells; `click` and `focus` are called with the row that it then shows, and the column. */
export function emptyRow(view, count, { click, focus }) {
  const cells = Array.from({ length: count }, (_, column) => {
    const row = () => Number(control.dataset.row);
    const control = view.overview()
      ? make("button", { type: "button", className: "kqlmi-where", onclick: () => click(row(), column) })
      : make("input", { type: "checkbox", className: "kqlmi-mark", onchange: () => click(row(), column) });
    control.addEventListener("focus", () => focus(row(), column));
    const content = view.overview() ? control : make("label", {}, control);
    return make("div", { className: "kqlmi-cell", role: "gridcell" }, content);
  });
  const name = make(
    "div",
    { className: "kqlmi-first", role: "rowheader" },
    span("kqlmi-name kqlmi-cut"),
    middleCut("kqlmi-small kqlmi-mono"),
  );
  return make("div", { className: "kqlmi-row", role: "row" }, name, ...cells);
}

/** Return the checkbox or button of a row in a column. */
export const controlOf = (element, column) => element?.children[column + 1]?.querySelector("input, button");

/** Fill a row with an identity and its states in the columns; TAB reaches the cell in the column `active`. */
export function fillRow(view, element, { row, identity: [identity, name, badge], states, columns, active }) {
  const [first, ...cells] = element.children;
  const client = view.get("client_ids")[identity];
  element.ariaRowIndex = String(row + 2);
  first.title = [name, identity, client ? `client ID ${client}` : ""].filter(Boolean).join("\n");
  first.firstChild.textContent = badge ? `${name} · ${badge}` : name;
  first.classList.toggle("kqlmi-orphan", badge === "orphan");
  setMiddleCut(first.lastChild, identity === "system" ? "the cluster's own: system" : identity);
  cells.forEach((cell, column) => {
    const { place, title } = columns[column];
    const state = states[place] ?? {};
    const { usage } = view.get("columns")[place];
    const change = state.changed ? (state.granted ? "to grant" : "to revoke") : "";
    const text = [change, state.text].filter(Boolean).join(", ");
    const control = controlOf(element, column);
    control.dataset.row = String(row);
    control.tabIndex = column === active ? 0 : -1;
    control.ariaDisabled = String(view.frozen());
    control.ariaLabel = `${name}: ${title}${text ? ` (${text})` : ""}`;
    cell.classList.toggle("kqlmi-changed", Boolean(state.changed));
    // The first workflow of a usage begins its group.
    cell.classList.toggle("kqlmi-begins", column > 0 && title !== usage && columns[column - 1].place !== place);
    cell.title = `${title}${text ? `: ${text}` : ""}`;
    const pending = view.kernel.pending(identity, usage);
    const mark = pending ? "…" : (state.mark ?? "");
    control.dataset.mark = mark;
    if (view.overview()) {
      control.textContent = mark || "·";
      // The share of the databases shades the cell; a mark that is no share stands for all of them.
      control.style.setProperty("--kqlmi-share", mark ? String(parseFloat(mark.replace(/[<>]/, "")) || 100) : "0");
      return;
    }
    control.checked = pending ? !state.granted : state.granted;
    // Allowed by another grant: neither ticked nor empty.
    control.indeterminate = !pending && state.allowed && !state.granted;
  });
}
