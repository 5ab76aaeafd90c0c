// The arrangement of the matrix: which rows and columns are shown, and in which order.

import { holds, words } from "./dom.js";

/** Return the states of the cells of the identity at an index in `identities`. */
export function statesOf(view, place) {
  const codes = view.get("edited")[view.get("identities")[place][0]] ?? view.get("cells")[place] ?? "";
  return [...codes].map((code) => view.get("legend")[code.charCodeAt(0) - 48]);
}

/**
 * Return what to show, in order: `rows` as indices into `identities`, `columns` as a usage's `place` in `columns` with a
 * `title`, and a `note`. In the view by workflows, a usage has a column for each workflow that it enables.
 */
export function arrange(view) {
  const identities = view.get("identities");
  const all = view.get("columns");
  const wanted = words(view.get("search"));
  const hidden = new Set(view.get("hidden_columns"));
  const byWorkflow = view.get("column_kind") === "workflows";
  const chosen = all
    .flatMap((column, place) =>
      byWorkflow
        ? column.workflows.map(({ title }) => ({ place, title, text: `${title} ${column.usage}`.toLowerCase() }))
        : [{ place, title: column.usage, text: textOf(column) }],
    )
    .filter(({ place }) => !hidden.has(all[place].usage));
  const foundColumns = chosen.filter(({ text }) => holds(text, wanted));
  const clients = view.get("client_ids");
  const foundRows = identities
    .map((identity, place) => place)
    .filter((place) => {
      const [identity, name] = identities[place];
      return holds(`${name} ${identity} ${clients[identity] ?? ""}`.toLowerCase(), wanted);
    });
  // A search that matches only columns must not hide all rows, or vice versa.
  const nothing = wanted.length > 0 && foundColumns.length === 0 && foundRows.length === 0;
  const columns = foundColumns.length > 0 ? foundColumns : chosen;
  const searched = foundRows.length > 0 ? foundRows : identities.map((identity, place) => place);

  const states = (place) => statesOf(view, place);
  const filters = {
    all: () => true,
    granted: (place) => states(place).some((state) => state.granted || state.allowed),
    changed: (place) => states(place).some((state) => state.changed),
    orphan: (place) => identities[place][2] === "orphan",
  };
  const allowed = (place) => states(place).filter((state) => state.allowed).length;
  const orders = {
    name: () => 0,
    granted: (one, other) => allowed(other) - allowed(one),
    "object ID": (one, other) => (identities[one][0] < identities[other][0] ? -1 : 1),
  };
  const rows = searched.filter(filters[view.get("row_filter")]).sort(orders[view.get("row_order")]);
  const enabling = wanted.length > 0 && !byWorkflow ? foundColumns.flatMap(({ place }) => matches(all[place], wanted)) : [];
  // A note of several sentences would wrap, and what is below would jump.
  const needed = enabling.length === 1 ? enabling : [];
  return { rows, columns, note: [...notes(view, rows.length, nothing), ...needed].join(" ") };
}

function notes(view, shown, nothing) {
  const count = view.get("identities").length;
  const found = [];
  if (nothing) found.push("Nothing matches the search; everything is shown.");
  if (count === 0) found.push("The policies that were read list no identity. Add one by its object ID.");
  else if (shown === 0) found.push("No identity matches the filter.");
  if (view.get("scope") === 0 && !view.get("refusal"))
    found.push("▲ Grants here apply in every database of the cluster, including future ones.");
  if (view.get("scope_states")[0] === "x" && view.get("scope") !== 0)
    found.push("The policy of the cluster could not be read: its grants are not shown.");
  if (view.overview() && /[ux]/.test(view.get("scope_states")))
    found.push("Unread scopes and unapplied changes are not counted.");
  if (view.get("assignments")) found.push(view.get("assignments"));
  if (shown > 0 && shown < count) found.push(`${shown} of ${count} identities.`);
  return found;
}

/** Return a sentence for each workflow of a usage that a search finds. */
function matches({ usage, workflows }, wanted) {
  return workflows
    .filter(({ title }) => holds(title.toLowerCase(), wanted))
    .map(({ title }) => `${title} needs ${usage}.`);
}

function textOf(column) {
  return [column.usage, column.summary, ...column.workflows.map((workflow) => workflow.title)].join(" ").toLowerCase();
}
