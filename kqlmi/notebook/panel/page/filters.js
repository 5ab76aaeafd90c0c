// The filters of the matrix: the search, the filter and order of rows, and the choice of columns.

import { make } from "./dom.js";

export function filtersPart(view) {
  const search = make("input", {
    type: "search",
    className: "kqlmi-grow",
    placeholder: "Search names, IDs, usages, workflows",
    ariaLabel: "Search identities by name, object ID or client ID, usages and workflows",
    oninput: () => view.keep("search", search.value),
  });
  const choices = (label, trait, options) =>
    make(
      "select",
      { ariaLabel: label, onchange: (event) => view.keep(trait, event.target.value) },
      ...options.map(([value, textContent]) => make("option", { value, textContent })),
    );
  const kind = choices("Columns by", "column_kind", [
    ["usages", "by usage"],
    ["workflows", "by workflow"],
  ]);
  const filter = choices("Rows", "row_filter", [
    ["all", "all identities"],
    ["granted", "with a grant"],
    ["changed", "changed here"],
    ["orphan", "orphans"],
  ]);
  const order = choices("Order", "row_order", [
    ["name", "by name"],
    ["granted", "most usages first"],
    ["object ID", "by object ID"],
  ]);
  const boxes = make("div", { className: "kqlmi-menu" });
  const menu = make("details", {}, make("summary", { textContent: "Columns" }), boxes);

  function draw() {
    search.value = view.get("search");
    kind.value = view.get("column_kind");
    filter.value = view.get("row_filter");
    order.value = view.get("row_order");
    const usages = view.get("columns").map((column) => column.usage);
    if (JSON.stringify(usages) !== boxes.dataset.usages) {
      boxes.dataset.usages = JSON.stringify(usages);
      boxes.replaceChildren(...usages.map(columnBox));
    }
    boxes.querySelectorAll("input").forEach((box, place) => {
      box.checked = !view.get("hidden_columns").includes(usages[place]);
    });
  }

  function columnBox(usage) {
    const onchange = () => {
      const others = view.get("hidden_columns").filter((name) => name !== usage);
      view.keep("hidden_columns", box.checked ? others : [...others, usage]);
    };
    const box = make("input", { type: "checkbox", onchange });
    return make("label", {}, box, usage);
  }

  const element = make("div", { className: "kqlmi-bar" }, search, kind, filter, order, menu);
  return { element, draws: [[draw, "search row_filter row_order columns hidden_columns column_kind"]] };
}
