// The matrix: only visible rows are in the page, and their elements are reused.

import { arrange, statesOf } from "./arrangement.js";
import { focus, hasFocus, make } from "./dom.js";
import { controlOf, emptyRow, fillRow, headings } from "./row.js";

const ROW = 40; // px, as in panel.css
const BEYOND = 2; // rows drawn above and below the visible ones
const TALLEST = 440; // px, as in panel.css

/** Make the matrix; `explain` is called with a column and the button in its heading. */
export function gridPart(view, explain) {
  let rows = []; // indices into `identities`, filtered and ordered
  let columns = []; // the arranged columns
  let active = { row: 0, column: 0, identity: "" }; // the only cell that TAB reaches
  let drawn = new Map(); // row → its element
  let shape = "";

  const head = make("div", { className: "kqlmi-row kqlmi-head", ariaRowIndex: "1", role: "row" });
  const body = make("div", { className: "kqlmi-body", role: "rowgroup" });
  const grid = make(
    "div",
    { className: "kqlmi-grid", role: "grid" },
    make("div", { className: "kqlmi-top", role: "rowgroup" }, head),
    body,
  );
  const scroll = make("div", { className: "kqlmi-scroll", onscroll: () => drawRows() }, grid);
  const instead = make("div", { className: "kqlmi-box", hidden: true });
  const note = make("div", { className: "kqlmi-small kqlmi-note" });

  const identityAt = (row) => view.get("identities")[rows[row]][0];
  const controlAt = (row, column) => controlOf(drawn.get(row), column);

  function draw() {
    const focused = hasFocus(body);
    const identities = view.get("identities");
    const arranged = arrange(view);
    ({ rows, columns } = arranged);
    note.textContent = arranged.note;
    const again = rows.findIndex((place) => identities[place][0] === active.identity);
    active.row = again >= 0 ? again : Math.min(active.row, Math.max(rows.length - 1, 0));
    active.column = Math.min(active.column, Math.max(columns.length - 1, 0));
    const now = JSON.stringify([view.overview(), columns.length]);
    if (now !== shape) {
      shape = now;
      drawn = new Map();
      body.replaceChildren();
    }
    head.replaceChildren(...headings(view, columns, explain));
    scroll.classList.toggle("kqlmi-by-workflow", view.get("column_kind") === "workflows");
    grid.style.setProperty("--kqlmi-columns", String(columns.length));
    grid.ariaColCount = String(columns.length + 1);
    grid.ariaRowCount = String(rows.length + 1);
    grid.ariaLabel = `Identities and usages, ${view.scopeName(view.get("scope"))}`;
    body.style.height = `${rows.length * ROW}px`;
    // The height depends on all identities, not the filtered ones, so that the content below does not jump.
    scroll.style.setProperty("--kqlmi-rows", String(identities.length));
    drawRows({ refillAll: true });
    if (focused) focusCell(active.row, active.column);

    const refusal = view.get("refusal");
    // Source: the documentation of the policy.
    const role = view.get("scope") === 0 ? "AllDatabasesMonitor" : "a role of this database: User, Viewer or Monitor";
    instead.hidden = !refusal;
    scroll.hidden = Boolean(refusal);
    instead.replaceChildren(
      make("p", { textContent: `Not read: ${refusal}` }),
      make("p", { textContent: `Reading this policy requires ${role}. Choose another scope, or ask an administrator for it.` }),
      view.askButton("Try again", () => view.ask("choose", { scope: view.get("scope") })),
    );
  }

  function drawTicks() {
    if (view.get("row_filter") === "all" && view.get("row_order") !== "granted") refill();
    else draw();
  }

  function refill() {
    for (const [row, element] of drawn) fill(element, row);
  }

  function fill(element, row) {
    element.style.transform = `translateY(${row * ROW}px)`;
    fillRow(view, element, {
      row,
      identity: view.get("identities")[rows[row]],
      states: statesOf(view, rows[row]),
      columns,
      active: row === active.row ? active.column : -1,
    });
  }

  /** Draw the visible rows; those that are already drawn are filled again only if `refillAll` is set. */
  function drawRows({ refillAll = false } = {}) {
    const top = Math.floor(scroll.scrollTop / ROW) - BEYOND;
    const end = Math.ceil((scroll.scrollTop + (scroll.clientHeight || TALLEST) - head.offsetHeight) / ROW) + BEYOND;
    const wanted = new Set();
    for (let row = Math.max(top, 0); row < Math.min(end, rows.length); row += 1) wanted.add(row);
    // Keep the active row when it is scrolled away: it may have the focus, and TAB must reach a cell.
    if (active.row < rows.length) wanted.add(active.row);
    const free = [...drawn].filter(([row]) => !wanted.has(row));
    for (const [row] of free) drawn.delete(row);
    for (const row of wanted) {
      if (drawn.has(row)) {
        if (refillAll) fill(drawn.get(row), row);
        continue;
      }
      const [, element] = free.pop() ?? [row, body.appendChild(emptyRow(view, columns.length, { click, focus: activate }))];
      drawn.set(row, element);
      fill(element, row);
    }
    for (const [, element] of free) element.remove();
    putInOrder();
  }

  /** Sort the row elements for screen readers, without moving the one with the focus, which would lose it. */
  function putInOrder() {
    let next = body.firstChild;
    for (const [, element] of [...drawn].sort(([one], [other]) => one - other)) {
      if (hasFocus(element)) {
        while (next !== element) {
          const passed = next;
          next = next.nextSibling;
          body.append(passed);
        }
      }
      if (element === next) next = next.nextSibling;
      else body.insertBefore(element, next);
    }
  }

  function click(row, column) {
    const all = view.get("columns");
    const { place } = columns[column];
    const { usage } = all[place];
    // Usages that are displayed alike are distinguished by their order.
    const among = all.slice(0, place).filter((other) => other.usage === usage).length;
    const action = view.overview() ? "where" : "toggle";
    if (!view.frozen()) view.askCell(action, { identity: identityAt(row), usage, among });
    refill();
  }

  function activate(row, column) {
    const before = controlAt(active.row, active.column);
    if (before) before.tabIndex = -1;
    active = { row, column, identity: identityAt(row) };
    const control = controlAt(row, column);
    if (control) control.tabIndex = 0;
  }

  function focusCell(row, column) {
    if (rows.length === 0 || columns.length === 0) return;
    const room = scroll.clientHeight - head.offsetHeight;
    if (row * ROW < scroll.scrollTop) scroll.scrollTop = row * ROW;
    else if ((row + 1) * ROW > scroll.scrollTop + room) scroll.scrollTop = (row + 1) * ROW - room;
    activate(row, column);
    drawRows();
    const control = controlAt(row, column);
    focus(control);
    const cell = control.closest(".kqlmi-cell");
    const left = cell.offsetLeft - head.firstChild.offsetWidth;
    if (left < scroll.scrollLeft) scroll.scrollLeft = left;
    else if (cell.offsetLeft + cell.offsetWidth > scroll.scrollLeft + scroll.clientWidth)
      scroll.scrollLeft = cell.offsetLeft + cell.offsetWidth - scroll.clientWidth;
  }

  function onKey(event) {
    const at = [...head.children].findIndex((one) => one.contains(event.target)) - 1;
    if (at >= 0) return moveInHead(event.key, at);
    if (!body.contains(event.target)) return false;
    const { row, column } = active;
    if (event.key === "ArrowUp" && row === 0) return focusHeading(column);
    const last = { row: rows.length - 1, column: columns.length - 1 };
    const page = Math.max(1, Math.floor((scroll.clientHeight - head.offsetHeight) / ROW));
    const moves = {
      ArrowDown: [row + 1, column],
      ArrowUp: [row - 1, column],
      ArrowRight: [row, column + 1],
      ArrowLeft: [row, column - 1],
      PageDown: [row + page, column],
      PageUp: [row - page, column],
      Home: event.ctrlKey ? [0, 0] : [row, 0],
      End: event.ctrlKey ? [last.row, last.column] : [row, last.column],
    };
    if (!(event.key in moves)) return false;
    const [to, over] = moves[event.key];
    focusCell(Math.min(Math.max(to, 0), last.row), Math.min(Math.max(over, 0), last.column));
    return true;
  }

  function moveInHead(key, column) {
    if (key === "ArrowDown" && rows.length > 0) focusCell(0, column);
    else if (key === "ArrowLeft" || key === "ArrowRight") focusHeading(column + (key === "ArrowLeft" ? -1 : 1));
    else return false;
    return true;
  }

  function focusHeading(column) {
    head.children[column + 1]?.querySelector("button")?.focus();
    return true;
  }

  return {
    elements: [scroll, instead, note],
    draws: [
      [draw, "assignments identities client_ids columns cells scope refusal search row_filter row_order hidden_columns column_kind"],
      [drawTicks, "edited legend"],
      [refill, "working"],
    ],
    onKey,
    /** Return the focus to the cell that had it last. */
    focus: () => focusCell(active.row, active.column),
    /** Redraw when the matrix enters the page or changes its size; return a function that stops this. */
    follow() {
      const sizes = new ResizeObserver(() => drawRows());
      sizes.observe(scroll);
      return () => sizes.disconnect();
    },
  };
}
