// The view of a Panel. Python holds the truth in traits; a click writes the trait `request`, and Python answers by changing
// the others. Text is only ever set as text.

const PATIENCE = 2000; // ms that a request may go unheard before it is taken back; requests.py has the same
const ROW = 46; // px, as in panel.css
const HEAD = 106; // px, as in panel.css
const BEYOND = 2; // rows drawn above and below those that show
const SCROLLBAR = 18; // px, at most
const TALLEST = 440; // px of the matrix before it scrolls
const MOST_SCOPES = 200; // listed at once; the search finds the others

/** Make an element: properties are set on it, attributes that are none go under `attributes`, children follow. */
function make(tag, { attributes = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Make a button. At rest it keeps the focus, which `disabled` would lose. */
function button(textContent, act, properties = {}) {
  const onclick = ({ currentTarget }) => {
    if (currentTarget.ariaDisabled !== "true") act();
  };
  return make("button", { type: "button", textContent, onclick, ...properties });
}

function rest(made, off) {
  made.ariaDisabled = String(off);
}

const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

const holds = (text, wanted) => wanted.every((word) => text.includes(word));

/** Copy text, also where the page is not allowed to write the clipboard by itself. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/**
 * The line to Python, one for all views of a panel. One request at a time, for the widget protocol keeps only the last of
 * several values that wait to be sent. `lost` tells that the last request went unheard; it is taken back, and Python
 * refuses it if it comes late.
 */
function lineTo(model) {
  const client = Math.random().toString(36).slice(2);
  const waiting = [];
  let count = 0;
  let sent = null;
  let given = null;
  let heard = { id: "", at: 0 };
  let timer;

  const line = {
    lost: false,
    views: new Set(), // what each view does when a request was heard, or was not
    ask(action, fields = {}) {
      waiting.push({ action, ...fields });
      send();
    },
    /** Ask whether anybody is there, whatever is under way. */
    greet() {
      waiting.length = 0;
      post({ action: "hello" });
    },
    /** Greet once, for all views. */
    meet() {
      if (heard.id === "" && sent === null) line.greet();
    },
    idle: () => waiting.length === 0 && sent === null && !model.get("working").action,
    /** Give what was asked for a cell and is not yet answered. */
    pending: (identity, usage) =>
      [sent, ...waiting].find((one) => one?.action === "toggle" && one.identity === identity && one.usage === usage),
  };

  function send() {
    // Where something takes its time, what comes next waits for its end.
    if (sent === null && waiting.length > 0 && !model.get("working").action) post(waiting.shift());
  }

  function post(request) {
    clearTimeout(timer);
    count += 1;
    sent = { id: `${client}-${count}`, after: heard.id, since: performance.now() - heard.at, ...request };
    timer = setTimeout(lose, PATIENCE);
    try {
      model.set("request", sent);
      model.save_changes();
    } catch {
      lose();
    }
  }

  function lose() {
    clearTimeout(timer);
    line.lost = true;
    given = sent?.id;
    sent = null;
    waiting.length = 0;
    for (const redraw of line.views) redraw();
  }

  model.on("change:acknowledged", () => {
    const id = model.get("acknowledged");
    if (id !== sent?.id && id !== given) return;
    clearTimeout(timer);
    heard = { id, at: performance.now() };
    sent = given = null;
    line.lost = false;
    for (const redraw of line.views) redraw();
    send();
  });
  model.on("change:working", send);
  // Not of anywidget's own interface, but what Jupyter's widgets tell when a kernel ends; elsewhere a click finds out.
  model.on("comm_live_update", line.greet);
  return line;
}

const lines = new Map();

function initialize({ model }) {
  const panel = model.get("panel_id");
  lines.set(panel, lineTo(model));
  return () => lines.delete(panel);
}

function render({ model, el }) {
  const line = lines.get(model.get("panel_id"));
  const view = Math.random().toString(36).slice(2);
  const id = (name) => `kqlmi-${view}-${name}`;
  const overview = () => model.get("scope") < 0;
  // While a plan runs, or another scope is fetched, nothing is asked on top; the reading in the background is no hindrance.
  const frozen = () => line.lost || !["more", undefined].includes(model.get("working").action);
  const ask = (action, fields) => line.ask(action, fields);
  const askCell = (action, cell) => ask(action, { ...cell, scope: model.get("scope") });

  /** Set a trait that the browser owns; without a kernel it holds in this view alone. */
  function keep(trait, value) {
    try {
      model.set(trait, value);
      model.save_changes();
    } catch {
      // The view was redrawn by the change itself.
    }
  }

  // ── What stays; what it holds is drawn from the traits ─────────────────────────────────────────────────────────────
  const title = make("span", { className: "kqlmi-title kqlmi-grow" });
  const reading = make("span", { className: "kqlmi-small" });
  const readOnButton = button("Go on", () => ask("more"), { hidden: true });
  const againButton = button("Read again", () => ask("read_again"));
  const banner = make("div", { className: "kqlmi-box kqlmi-banner", tabIndex: -1, attributes: { role: "alert" } });

  const scopeSearch = make("input", {
    type: "search",
    placeholder: "Search scopes",
    ariaLabel: "Search scopes",
    oninput: drawScopes,
  });
  const scopeList = make("div", {
    className: "kqlmi-scopes",
    tabIndex: 0,
    ariaLabel: "Scopes",
    attributes: { role: "listbox" },
  });
  const scopeNote = make("div", { className: "kqlmi-small" });

  const searchBox = make("input", {
    type: "search",
    placeholder: "Search identities, usages, workflows",
    ariaLabel: "Search identities, usages and workflows",
    oninput: () => keep("search", searchBox.value),
  });
  const choices = (label, trait, options) =>
    make(
      "select",
      { ariaLabel: label, onchange: (event) => keep(trait, event.target.value) },
      ...options.map(([value, textContent]) => make("option", { value, textContent })),
    );
  const filterBox = choices("Rows", "row_filter", [
    ["all", "all identities"],
    ["granted", "with a grant"],
    ["changed", "changed here"],
    ["orphan", "orphans"],
  ]);
  const orderBox = choices("Order", "row_order", [
    ["name", "by name"],
    ["granted", "most usages first"],
    ["object ID", "by object ID"],
  ]);
  const columnBoxes = make("div", { className: "kqlmi-menu" });
  const columnMenu = make("details", {}, make("summary", { textContent: "Columns" }), columnBoxes);

  const head = make("div", { className: "kqlmi-row kqlmi-head", ariaRowIndex: "1", attributes: { role: "row" } });
  const body = make("div", { className: "kqlmi-body", attributes: { role: "rowgroup" } });
  const grid = make(
    "div",
    { className: "kqlmi-grid", ariaLabel: "Identities and usages", attributes: { role: "grid" } },
    make("div", { className: "kqlmi-top", attributes: { role: "rowgroup" } }, head),
    body,
  );
  const scroll = make("div", { className: "kqlmi-scroll", onscroll: () => drawRows() }, grid);
  const instead = make("div", { className: "kqlmi-instead", hidden: true });
  const note = make("div", { className: "kqlmi-small kqlmi-note" });

  const newIdentity = make("input", {
    type: "text",
    placeholder: "Object ID of another identity",
    ariaLabel: "Object ID of another identity",
    spellcheck: false,
  });
  const addButton = button("Add a row", add);
  const summary = make("span", { className: "kqlmi-grow", ariaLive: "polite" });
  const previewButton = button("Preview", () => ask("preview"), { className: "kqlmi-main" });
  const discardButton = button("Discard", () => ask("discard"));
  const undoButton = button("Undo", () => ask("undo"), { title: "Show what takes back the last change of this panel" });
  const theirs = make("div", { className: "kqlmi-box", hidden: true });
  const question = make("div", { className: "kqlmi-box", hidden: true, ariaLabel: "Question", attributes: { role: "group" } });
  const preview = make("div", {
    className: "kqlmi-box",
    hidden: true,
    tabIndex: -1,
    ariaLabel: "Preview of the change",
    attributes: { role: "region" },
  });
  const status = make("div", { className: "kqlmi-box kqlmi-status", tabIndex: -1, attributes: { role: "status" } });
  const root = make(
    "section",
    { className: "kqlmi", ariaLabel: "Managed identity policy" },
    make("div", { className: "kqlmi-bar" }, title, reading, readOnButton, againButton),
    banner,
    make(
      "div",
      { className: "kqlmi-middle" },
      make("div", { className: "kqlmi-side" }, scopeSearch, scopeList, scopeNote),
      make(
        "div",
        { className: "kqlmi-matrix" },
        make("div", { className: "kqlmi-bar" }, searchBox, filterBox, orderBox, columnMenu),
        scroll,
        instead,
        note,
      ),
    ),
    make("div", { className: "kqlmi-bar" }, newIdentity, addButton),
    make("div", { className: "kqlmi-bar kqlmi-change" }, summary, previewButton, discardButton, undoButton),
    theirs,
    question,
    preview,
    status,
  );
  // A notebook takes plain keys for commands while a box has the focus: "dd" would delete the cell. JupyterLab listens
  // where a key ends, Notebook 7 where it begins, so they are caught before both; what a key does by itself, it still does.
  // What a notebook does with Ctrl, Alt and Shift+Enter, a person expects of it here too.
  function onKey(event) {
    if (!root.contains(event.target)) return;
    const handled = [scopeKey, cellKey, addKey].some((handle) => handle(event));
    if (handled) event.preventDefault();
    const command = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
    if (handled || !command) event.stopPropagation();
  }

  function addKey(event) {
    if (event.target !== newIdentity || event.key !== "Enter") return false;
    add();
    return true;
  }

  function add() {
    if (newIdentity.value.trim()) ask("add", { identity: newIdentity.value.trim() });
  }

  // ── Scopes ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  let scopePlaces = [];
  let scopeAt = 0; // in scopePlaces: where the arrow keys are
  let listed = "";

  const nameOf = (place) => (place < 0 ? "all scopes: what is in force" : model.get("scopes")[place]);

  function drawScopes() {
    const names = model.get("scopes");
    const states = model.get("scope_states");
    const chosen = model.get("scope");
    const wanted = words(scopeSearch.value);
    const found = names.map((name, place) => place).filter((place) => holds(names[place].toLowerCase(), wanted));
    const places = [...new Set([-1, ...(chosen < 0 ? [] : [chosen]), ...found.slice(0, MOST_SCOPES)])].sort((a, b) => a - b);
    // The list stays while it is read in the background: what the mouse is on, and the arrow keys, would be lost.
    if (JSON.stringify(places) !== listed) {
      const at = scopePlaces[scopeAt];
      listed = JSON.stringify(places);
      scopePlaces = places;
      scopeAt = Math.max(0, places.indexOf(places.includes(at) ? at : chosen));
      scopeList.replaceChildren(
        ...places.map((place, at) =>
          make(
            "div",
            {
              id: id(`scope-${at}`),
              className: "kqlmi-scope",
              title: nameOf(place),
              attributes: { role: "option" },
              onclick: () => choose(at),
            },
            make("span", { className: "kqlmi-cut kqlmi-grow", textContent: nameOf(place) }),
            make("span", { className: "kqlmi-small" }),
          ),
        ),
      );
    }
    const marks = { u: "unread", x: "refused", c: "changed" };
    [...scopeList.children].forEach((option, at) => {
      option.ariaSelected = String(places[at] === chosen);
      option.lastChild.textContent = marks[states[places[at]]] ?? "";
    });
    const more = found.length - MOST_SCOPES;
    scopeNote.textContent = more > 0 ? `${more} more: search for them` : "";
    const read = [...states].filter((state) => "rc".includes(state)).length;
    const refused = [...states].filter((state) => state === "x").length;
    const halted = model.get("halted");
    const parts = [`${read} of ${names.length} scopes read`, refused ? `${refused} refused` : "", halted ? `stopped: ${halted}` : ""];
    reading.textContent = parts.filter(Boolean).join(", ");
    readOnButton.hidden = !halted;
    markScope();
  }

  function follow() {
    scopeAt = Math.max(0, scopePlaces.indexOf(model.get("scope")));
    drawScopes();
  }

  function markScope() {
    scopeList.setAttribute("aria-activedescendant", id(`scope-${scopeAt}`));
    [...scopeList.children].forEach((option, at) => option.classList.toggle("kqlmi-active", at === scopeAt));
  }

  function choose(at) {
    scopeAt = at;
    if (!frozen()) ask("choose", { scope: scopePlaces[at] });
  }

  function scopeKey(event) {
    if (event.target === scopeSearch && event.key === "ArrowDown") {
      scopeList.focus();
      return true;
    }
    if (event.target !== scopeList) return false;
    const moves = { ArrowDown: scopeAt + 1, ArrowUp: scopeAt - 1, Home: 0, End: scopePlaces.length - 1 };
    if (event.key in moves) {
      scopeAt = Math.min(Math.max(moves[event.key], 0), scopePlaces.length - 1);
      markScope();
      scopeList.children[scopeAt].scrollIntoView({ block: "nearest" });
      return true;
    }
    if (event.key !== "Enter" && event.key !== " ") return false;
    choose(scopeAt);
    return true;
  }

  // ── The matrix: only the rows that show are in the page, and they are used again ───────────────────────────────────
  let rows = []; // places in `identities`, filtered and ordered
  let columns = []; // places in `columns`
  let active = { row: 0, column: 0, identity: "" }; // the one cell that TAB reaches
  let drawn = new Map(); // row → its element
  let shape = "";

  const codes = (place) => model.get("edited")[model.get("identities")[place][0]] ?? model.get("cells")[place] ?? "";
  const statesOf = (place) => [...codes(place)].map((code) => model.get("legend")[code.charCodeAt(0) - 48]);

  /** Tell which rows and columns the search, the filter and the order leave. */
  function arrange() {
    const identities = model.get("identities");
    const all = model.get("columns");
    const wanted = words(model.get("search"));
    const hidden = new Set(model.get("hidden_columns"));
    const chosen = all.map((column, place) => place).filter((place) => !hidden.has(all[place].usage));
    const foundColumns = chosen.filter((place) => holds(textOf(all[place]), wanted));
    const found = identities
      .map((identity, place) => place)
      .filter((place) => holds(`${identities[place][1]} ${identities[place][0]}`.toLowerCase(), wanted));
    // A search that finds columns only must not empty the rows, nor the other way round.
    const nothing = wanted.length > 0 && foundColumns.length === 0 && found.length === 0;
    columns = foundColumns.length > 0 ? foundColumns : chosen;
    const searched = found.length > 0 ? found : identities.map((identity, place) => place);

    const filters = {
      all: () => true,
      granted: (place) => statesOf(place).some((state) => state.granted || state.allowed),
      changed: (place) => statesOf(place).some((state) => state.changed),
      orphan: (place) => identities[place][2] === "orphan",
    };
    const held = (place) => statesOf(place).filter((state) => state.allowed).length;
    const orders = {
      name: () => 0,
      granted: (one, other) => held(other) - held(one),
      "object ID": (one, other) => (identities[one][0] < identities[other][0] ? -1 : 1),
    };
    rows = searched.filter(filters[model.get("row_filter")]).sort(orders[model.get("row_order")]);

    const notes = [];
    if (nothing) notes.push("The search finds nothing; everything is shown.");
    if (identities.length === 0) notes.push("No policy that was read names an identity: add one by its object ID.");
    else if (rows.length === 0) notes.push("No identity passes the filter.");
    if (model.get("scope_states")[0] === "x" && model.get("scope") !== 0)
      notes.push("The policy of the cluster could not be read: what it grants is not shown.");
    if (overview() && /[ux]/.test(model.get("scope_states")))
      notes.push("Scopes that were not read are not counted here, nor are changes that were not applied.");
    if (model.get("assignments")) notes.push(model.get("assignments"));
    if (rows.length > 0 && rows.length < identities.length) notes.push(`${rows.length} of ${identities.length} identities.`);
    note.textContent = notes.join(" ");

    const again = rows.findIndex((place) => identities[place][0] === active.identity);
    active.row = again >= 0 ? again : Math.min(active.row, Math.max(rows.length - 1, 0));
    active.column = Math.min(active.column, Math.max(columns.length - 1, 0));
  }

  function textOf(column) {
    return [column.usage, column.summary, ...column.workflows.map((workflow) => workflow.title)].join(" ").toLowerCase();
  }

  function drawHead() {
    const all = model.get("columns");
    const wanted = words(model.get("search"));
    head.replaceChildren(
      make(
        "div",
        { className: "kqlmi-first", attributes: { role: "columnheader" } },
        make("span", { className: "kqlmi-name", textContent: "Identity" }),
      ),
      ...columns.map((place) => heading(all[place], wanted)),
    );
    grid.style.setProperty("--kqlmi-columns", String(columns.length));
    grid.ariaColCount = String(columns.length + 1);
    drawColumnMenu(all.map((column) => column.usage));
  }

  function drawColumnMenu(usages) {
    if (JSON.stringify(usages) !== columnBoxes.dataset.usages) {
      columnBoxes.dataset.usages = JSON.stringify(usages);
      columnBoxes.replaceChildren(
        ...usages.map((usage) => {
          const box = make("input", { type: "checkbox", onchange: () => showColumn(usage, box.checked) });
          return make("label", {}, box, usage);
        }),
      );
    }
    columnBoxes.querySelectorAll("input").forEach((box, place) => {
      box.checked = !model.get("hidden_columns").includes(usages[place]);
    });
  }

  function showColumn(usage, shown) {
    const others = model.get("hidden_columns").filter((name) => name !== usage);
    keep("hidden_columns", shown ? others : [...others, usage]);
  }

  function heading(column, wanted) {
    const found = (workflow) => wanted.length > 0 && holds(workflow.title.toLowerCase(), wanted);
    // What the search found comes first, for the list is cut where it would be too tall.
    const workflows = [...column.workflows].sort((one, other) => found(other) - found(one));
    const texts = workflows.flatMap((workflow, at) => [
      at > 0 ? "; " : "",
      make(found(workflow) ? "mark" : "span", { textContent: workflow.title }),
      workflow.sure === "documented" ? "" : ` (${workflow.sure})`,
    ]);
    const special = column.cluster_only ? "cluster policy only" : column.known ? "" : "unknown usage, kept";
    return make(
      "div",
      { title: [column.summary, ...workflows.map((one) => one.title)].join("\n"), attributes: { role: "columnheader" } },
      make("span", { className: "kqlmi-name", textContent: column.usage }),
      special ? make("span", { className: "kqlmi-small", textContent: special }) : null,
      make("span", { className: "kqlmi-small kqlmi-opens" }, ...(texts.length ? texts : [column.summary])),
    );
  }

  function emptyRow() {
    const cells = columns.map((place, column) => {
      const state = make("span", { className: "kqlmi-small kqlmi-state" });
      const control = overview()
        ? make("button", { type: "button", className: "kqlmi-where", onclick: () => act(control) })
        : make("input", { type: "checkbox", onchange: () => act(control) });
      control.addEventListener("focus", () => activate(Number(control.dataset.row), column));
      control.dataset.column = String(column);
      return make(
        "div",
        { className: "kqlmi-cell", attributes: { role: "gridcell" } },
        overview() ? control : make("label", {}, control, state),
      );
    });
    const name = make(
      "div",
      { className: "kqlmi-first", attributes: { role: "rowheader" } },
      make("span", { className: "kqlmi-name kqlmi-cut" }),
      make("span", { className: "kqlmi-small kqlmi-mono kqlmi-cut" }),
    );
    return make("div", { className: "kqlmi-row", attributes: { role: "row" } }, name, ...cells);
  }

  function act(control) {
    const identity = identityAt(Number(control.dataset.row));
    const all = model.get("columns");
    const place = columns[Number(control.dataset.column)];
    const { usage } = all[place];
    // Two usages whose names look the same are told apart by their order.
    const among = all.slice(0, place).filter((column) => column.usage === usage).length;
    if (!frozen()) askCell(overview() ? "where" : "toggle", { identity, usage, among });
    refill();
  }

  function fillRow(element, row) {
    const [identity, name, badge] = model.get("identities")[rows[row]];
    const [first, ...cells] = element.children;
    const states = statesOf(rows[row]);
    element.style.transform = `translateY(${row * ROW}px)`;
    element.ariaRowIndex = String(row + 2);
    first.title = `${name}\n${identity}`;
    first.firstChild.textContent = badge ? `${name} · ${badge}` : name;
    first.lastChild.textContent = identity === "system" ? "the cluster's own: system" : identity;
    cells.forEach((cell, column) => {
      const state = states[columns[column]] ?? {};
      const { usage } = model.get("columns")[columns[column]];
      const change = state.changed ? (state.granted ? "to grant" : "to revoke") : "";
      const text = [change, state.text].filter(Boolean).join(", ");
      const control = cell.querySelector("input, button");
      control.dataset.row = String(row);
      control.tabIndex = row === active.row && column === active.column ? 0 : -1;
      control.ariaDisabled = String(frozen());
      control.ariaLabel = `${name}: ${usage}${text ? ` (${text})` : ""}`;
      cell.classList.toggle("kqlmi-changed", Boolean(state.changed));
      cell.title = text;
      if (overview()) {
        control.textContent = text || "–";
        return;
      }
      cell.querySelector(".kqlmi-state").textContent = text;
      const pending = line.pending(identity, usage);
      control.checked = pending ? !state.granted : state.granted;
      // Allowed, but not by a grant of its own: neither ticked nor empty.
      control.indeterminate = !pending && state.allowed && !state.granted;
    });
  }

  /** Draw the rows that show; those that are drawn already are filled again only where they hold something else. */
  function drawRows({ anew = false } = {}) {
    const top = Math.floor(scroll.scrollTop / ROW) - BEYOND;
    const end = Math.ceil((scroll.scrollTop + (scroll.clientHeight || TALLEST) - HEAD) / ROW) + BEYOND;
    const wanted = new Set();
    for (let row = Math.max(top, 0); row < Math.min(end, rows.length); row += 1) wanted.add(row);
    // The focus must not be lost because its row was scrolled away; and TAB must find a cell.
    if (active.row < rows.length) wanted.add(active.row);
    const free = [...drawn].filter(([row]) => !wanted.has(row));
    for (const [row] of free) drawn.delete(row);
    for (const row of wanted) {
      if (drawn.has(row)) {
        if (anew) fillRow(drawn.get(row), row);
        continue;
      }
      const [, element] = free.pop() ?? [row, body.appendChild(emptyRow())];
      drawn.set(row, element);
      fillRow(element, row);
    }
    for (const [, element] of free) element.remove();
    putInOrder();
  }

  /** Put the rows into the order in which they are read aloud; the one with the focus would lose it if it were moved. */
  function putInOrder() {
    let next = body.firstChild;
    for (const [, element] of [...drawn].sort(([one], [other]) => one - other)) {
      if (element.contains(document.activeElement)) {
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

  function drawMatrix() {
    const focused = body.contains(document.activeElement);
    arrange();
    const now = JSON.stringify([overview(), columns]);
    if (now !== shape) {
      shape = now;
      drawn = new Map();
      body.replaceChildren();
    }
    drawHead();
    body.style.height = `${rows.length * ROW}px`;
    grid.ariaRowCount = String(rows.length + 1);
    // The height follows all identities, not those that pass a filter: what stands below must not jump.
    scroll.style.height = `${Math.min(HEAD + model.get("identities").length * ROW + SCROLLBAR, TALLEST)}px`;
    drawRows({ anew: true });
    if (focused) focusCell(active.row, active.column);

    const refusal = model.get("refusal");
    instead.hidden = !refusal;
    scroll.hidden = Boolean(refusal);
    instead.replaceChildren(
      make("p", { textContent: `Not read: ${refusal}` }),
      asking("Try again", () => ask("choose", { scope: model.get("scope") })),
    );
  }

  function drawTicks() {
    if (model.get("row_filter") === "all" && model.get("row_order") !== "granted") refill();
    else drawMatrix();
  }

  function refill() {
    for (const [row, element] of drawn) fillRow(element, row);
  }

  function activate(row, column) {
    if (row === active.row && column === active.column) return;
    const before = cellAt(active.row, active.column);
    if (before) before.tabIndex = -1;
    active = { row, column, identity: identityAt(row) };
    cellAt(row, column).tabIndex = 0;
  }

  const identityAt = (row) => model.get("identities")[rows[row]][0];
  const cellAt = (row, column) => drawn.get(row)?.children[column + 1]?.querySelector("input, button");

  function focusCell(row, column) {
    if (rows.length === 0 || columns.length === 0) return;
    const room = scroll.clientHeight - HEAD;
    if (row * ROW < scroll.scrollTop) scroll.scrollTop = row * ROW;
    else if ((row + 1) * ROW > scroll.scrollTop + room) scroll.scrollTop = (row + 1) * ROW - room;
    const before = cellAt(active.row, active.column);
    if (before) before.tabIndex = -1;
    active = { row, column, identity: identityAt(row) };
    drawRows();
    const control = cellAt(row, column);
    control.tabIndex = 0;
    control.focus({ preventScroll: true });
    const cell = control.closest(".kqlmi-cell");
    const left = cell.offsetLeft - head.firstChild.offsetWidth;
    if (left < scroll.scrollLeft) scroll.scrollLeft = left;
    else if (cell.offsetLeft + cell.offsetWidth > scroll.scrollLeft + scroll.clientWidth)
      scroll.scrollLeft = cell.offsetLeft + cell.offsetWidth - scroll.clientWidth;
  }

  function cellKey(event) {
    if (!body.contains(event.target)) return false;
    const { row, column } = active;
    const last = { row: rows.length - 1, column: columns.length - 1 };
    const page = Math.max(1, Math.floor((scroll.clientHeight - HEAD) / ROW));
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
    const [to, at] = moves[event.key];
    focusCell(Math.min(Math.max(to, 0), last.row), Math.min(Math.max(at, 0), last.column));
    return true;
  }

  // ── The change ─────────────────────────────────────────────────────────────────────────────────────────────────────
  let confirming = "";

  function drawBanner() {
    const denial = model.get("denial");
    const held = banner.contains(document.activeElement);
    banner.hidden = !line.lost && !denial.reason;
    const texts = [];
    if (line.lost) {
      texts.push("No kernel answers: it is busy, or gone. What is shown was read before, and what you click is not heard.");
      if (model.get("working").action === "execute")
        texts.push("A change was being carried out. Whether it landed, %kqlmi history tells after the next %kqlmi connect.");
    } else if (denial.reason) {
      texts.push(`Read-only. ${denial.reason} Ticks make a request that you can copy for somebody who may.`);
    }
    banner.replaceChildren(...texts.map((textContent) => make("p", { textContent })));
    if (line.lost) banner.append(button("Ask again", line.greet), " or run the cell again.");
    if (held) (line.lost ? banner : status).focus({ preventScroll: true });
  }

  function drawControls() {
    const text = model.get("summary");
    const off = frozen();
    summary.textContent = text || "No change.";
    newIdentity.disabled = line.lost;
    for (const one of [addButton, againButton, readOnButton]) rest(one, off);
    for (const one of [previewButton, discardButton]) rest(one, off || !text);
    rest(undoButton, off || !model.get("undoable"));
    for (const box of [theirs, question, preview, instead])
      for (const one of box.querySelectorAll("button[data-asks]")) rest(one, off);
  }

  /** Make a button that asks Python for something, and so rests while nothing can be asked. */
  const asking = (text, onclick, properties = {}) => {
    const made = button(text, onclick, properties);
    made.dataset.asks = "";
    rest(made, frozen());
    return made;
  };

  function list(items) {
    return items.length ? make("ul", {}, ...items.map((textContent) => make("li", { textContent }))) : null;
  }

  function drawTheirs() {
    const changes = model.get("theirs");
    theirs.hidden = changes.length === 0;
    theirs.replaceChildren(
      make("p", { className: "kqlmi-name", textContent: "Somebody else changed this since it was read; what you ticked stands on top of it:" }),
      list(changes) ?? "",
      asking("Seen", () => {
        ask("dismiss");
        status.focus({ preventScroll: true });
      }),
    );
  }

  function drawQuestion() {
    const asked = model.get("question");
    question.hidden = !asked;
    if (!asked) return;
    const cell = { identity: asked.identity, usage: asked.usage };
    const offers = asked.offers.map(([action, text]) => asking(text, () => answer(() => askCell(action, cell))));
    question.replaceChildren(
      make("p", { textContent: asked.text }),
      make("div", { className: "kqlmi-bar" }, ...offers, asking("Keep it", () => answer(() => ask("dismiss")))),
    );
    if (root.contains(document.activeElement)) question.querySelector("button").focus();
  }

  /** Answer a question, and go back to the cell that raised it. */
  function answer(send) {
    send();
    focusCell(active.row, active.column);
  }

  function drawPreview() {
    const plan = model.get("preview");
    const held = preview.contains(document.activeElement) && document.activeElement.textContent;
    const opens = preview.hidden || preview.dataset.plan !== plan?.id;
    preview.hidden = !plan;
    if (opens) confirming = "";
    if (!plan) {
      if (held !== false) status.focus({ preventScroll: true });
      return;
    }
    preview.dataset.plan = plan.id;
    const changes = plan.changes.map((change) => {
      const sign = change.kind === "grant" ? "+ grant" : "− revoke";
      return `${sign} ${change.usage} · ${change.who} · ${change.scope}${change.note ? ` (${change.note})` : ""}`;
    });
    const done = model.get("progress");
    const steps = plan.steps.flatMap((step, at) => [
      make(
        "div",
        { className: "kqlmi-bar kqlmi-step" },
        make("span", {
          className: "kqlmi-grow",
          textContent: `Step ${at + 1} of ${plan.steps.length}, ${step.scope}${done[at]?.outcome ? `: ${done[at].outcome}` : ""}`,
        }),
        copying("Copy", step.command),
      ),
      make(
        "pre",
        { tabIndex: 0, ariaLabel: `Command ${at + 1}`, attributes: { role: "group" } },
        ...step.pieces.map(([kind, textContent]) => (kind ? make("span", { className: `kqlmi-${kind}`, textContent }) : textContent)),
      ),
    ]);
    preview.replaceChildren(
      make("p", {
        className: "kqlmi-name",
        textContent: `${plan.undoes ? "Undo" : "Plan"} ${plan.short} on ${plan.cluster}: ${plan.summary}`,
      }),
      list(changes) ?? "",
      ...impactOf(plan),
      ...steps,
      make("div", { className: "kqlmi-bar" }, ...actionsOf(plan)),
    );
    const again = [...preview.querySelectorAll("button")].find((one) => one.textContent === held);
    if (held !== false || (opens && root.contains(document.activeElement))) (again ?? preview).focus({ preventScroll: true });
    if (opens) preview.scrollIntoView({ block: "nearest" });
  }

  function impactOf(plan) {
    if (!plan.revokes) return [];
    if (plan.impact === null) return [make("p", { textContent: "Looking for what would stop…" })];
    const found = list(plan.impact);
    return [make("p", { className: "kqlmi-name", textContent: found ? "What it stops:" : "No use was found that would stop." }), found ?? ""];
  }

  function actionsOf(plan) {
    const denial = model.get("denial");
    const close = asking("Close", () => ask("close"));
    if (denial.reason && denial.certain) return [copying("Copy the request", plan.request), close];
    if (confirming === plan.id)
      return [
        make("p", { className: "kqlmi-name", tabIndex: -1, textContent: `This revokes ${plan.revokes}. Execute it?` }),
        // Where Execute was, so that a second click or a key held down revokes nothing.
        asking("Go back", () => ascertain("")),
        asking(`Yes, revoke ${plan.revokes} and execute`, () => execute(plan, true), { className: "kqlmi-main" }),
      ];
    const first = denial.reason ? [copying("Copy the request", plan.request)] : [];
    const label = denial.reason ? "Try to execute" : "Execute";
    const act = () => (plan.revokes > 0 ? ascertain(plan.id) : execute(plan, false));
    return [...first, asking(label, act, { className: "kqlmi-main" }), copying("Copy all", plan.steps.map((step) => step.command).join("\n\n")), close];
  }

  function ascertain(plan) {
    confirming = plan;
    drawPreview();
    preview.querySelector(plan ? ".kqlmi-bar p" : ".kqlmi-main").focus();
  }

  function execute(plan, confirmed) {
    ask("execute", { plan: plan.id, confirmed });
  }

  function copying(text, what) {
    const made = button(text, async () => {
      await copy(what);
      made.textContent = "Copied";
      setTimeout(() => (made.textContent = text), 1500);
    });
    return made;
  }

  function drawStatus() {
    const state = model.get("status");
    const { action, text } = model.get("working");
    const busy = action && action !== "more" && !line.lost ? text : "";
    status.className = `kqlmi-box kqlmi-status kqlmi-${busy ? "busy" : state.kind || "note"}`;
    const parts = busy ? [busy] : [state.text, state.hint].filter(Boolean);
    status.replaceChildren(...parts.flatMap((text) => text.split("\n")).map((textContent) => make("p", { textContent })));
    if (state.kind === "error" && !busy) status.scrollIntoView({ block: "nearest" });
  }

  /** Read what was not read yet, a few scopes at a time, while nothing else is asked. */
  function readOn() {
    if (!line.lost && line.idle() && !model.get("halted") && model.get("more")) ask("more");
  }

  function drawView() {
    title.textContent = `${model.get("cluster")} · ${nameOf(model.get("scope"))}`;
    grid.ariaLabel = `Identities and usages, ${nameOf(model.get("scope"))}`;
    searchBox.value = model.get("search");
    filterBox.value = model.get("row_filter");
    orderBox.value = model.get("row_order");
    drawMatrix();
  }

  function drawLine() {
    const held = root.contains(document.activeElement) && line.lost;
    drawBanner();
    drawControls();
    drawStatus();
    refill();
    if (held && !banner.contains(document.activeElement)) banner.focus({ preventScroll: true });
    readOn();
  }

  // In the order in which they are drawn: what fills rows comes after what arranges them.
  const draws = [
    [drawView, "cluster assignments identities columns cells scope refusal search row_filter row_order hidden_columns"],
    [drawScopes, "scopes scope_states halted"],
    [follow, "scope"],
    [drawTicks, "edited legend"],
    [drawBanner, "denial"],
    [drawTheirs, "theirs"],
    [drawQuestion, "question"],
    [drawPreview, "preview progress"],
    [drawControls, "summary undoable"],
    [drawStatus, "status"],
    [drawLine, "working"],
  ];
  // Several traits change at once, and each tells; what they are about is drawn once.
  const dirty = new Set();
  function soon(draw) {
    if (dirty.size === 0) queueMicrotask(flush);
    dirty.add(draw);
  }
  function flush() {
    const due = new Set(dirty);
    dirty.clear();
    for (const [draw] of draws) if (due.has(draw)) draw();
  }
  for (const [draw, traits] of draws)
    for (const trait of traits.split(" ")) model.on(`change:${trait}`, () => soon(draw));
  const heard = () => soon(drawLine);
  line.views.add(heard);

  window.addEventListener("keydown", onKey, true);
  // Drawn before it is in the page, where each measure would lay it out once more; and each part once.
  const parts = [drawView, drawScopes, drawBanner, drawTheirs, drawQuestion, drawPreview, drawControls, drawStatus];
  for (const draw of parts) draw();
  el.append(root);
  const sizes = new ResizeObserver(() => drawRows());
  sizes.observe(scroll);
  // After the first paint, which it would only delay.
  requestAnimationFrame(() => setTimeout(line.meet));
  return () => {
    line.views.delete(heard);
    window.removeEventListener("keydown", onKey, true);
    sizes.disconnect();
  };
}

export default { initialize, render };
