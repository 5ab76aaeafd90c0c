// The view of a Panel. Every trait but `request` is written by Python; a click writes `request`, and Python answers
// by changing the others. Text is only ever set as text.

/** Make an element: properties are set on it, children are elements or strings. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function textOf(column) {
  const titles = column.workflows.map((workflow) => workflow.title);
  return [column.usage, column.summary, ...titles].join(" ").toLowerCase();
}

/** Tell whether every word of the search stands in the text. */
function matches(text, search) {
  return search.every((word) => text.includes(word));
}

function render({ model, el }) {
  let search = [];
  let confirming = false;
  let lastId = model.get("acknowledged");
  let timer;
  const waiting = [];

  // One request at a time: the widget protocol keeps only the last of several values that wait to be sent.
  function ask(action, fields = {}) {
    waiting.push({ action, ...fields });
    if (waiting.length === 1) send();
  }

  function send() {
    lastId = Math.max(lastId, model.get("acknowledged")) + 1;
    clearTimeout(timer);
    // An execution takes its time and says so by itself; everything else is answered at once.
    if (waiting[0].action !== "execute") timer = setTimeout(unanswered, 2000);
    try {
      model.set("request", { id: lastId, ...waiting[0] });
      model.save_changes();
    } catch {
      unanswered();
    }
  }

  function unanswered() {
    waiting.length = 0;
    drawView();
    say({ kind: "error", text: "No kernel answers.", hint: "If it is not just busy, run the cell again." });
  }

  function acknowledged() {
    if (model.get("acknowledged") < lastId) return;
    clearTimeout(timer);
    waiting.shift();
    // A box that was clicked but not changed (a question came instead) is drawn from the truth again.
    drawView();
    drawStatus();
    if (waiting.length > 0) send();
  }

  // The parts that stay; what they hold is drawn from the traits.
  const title = make("span", { className: "kqlmi-title" });
  const scopes = make("select", { ariaLabel: "Scope", onchange: () => ask("scope", { scope: Number(scopes.value) }) });
  const searchBox = make("input", {
    type: "search",
    placeholder: "Search identities, usages, workflows",
    ariaLabel: "Search identities, usages and workflows",
    oninput: () => {
      search = searchBox.value.toLowerCase().split(/\s+/).filter(Boolean);
      drawView();
    },
  });
  const note = make("div", { className: "kqlmi-box", hidden: true });
  const table = make("table");
  const scroll = make("div", { className: "kqlmi-scroll", tabIndex: 0, role: "region", ariaLabel: "Policy" }, table);
  const newIdentity = make("input", {
    type: "text",
    placeholder: "Object ID of another identity",
    ariaLabel: "Object ID of another identity",
    spellcheck: false,
    onkeydown: (event) => event.key === "Enter" && add(),
  });
  const addButton = make("button", { type: "button", textContent: "Add a row", onclick: add });
  const summary = make("span", { className: "kqlmi-grow" });
  const previewButton = make("button", {
    type: "button",
    className: "kqlmi-main",
    textContent: "Preview",
    onclick: () => ask("preview"),
  });
  const discardButton = make("button", { type: "button", textContent: "Discard", onclick: () => ask("discard") });
  const question = make("div", { className: "kqlmi-box", hidden: true });
  const preview = make("div", { className: "kqlmi-box", hidden: true });
  const status = make("div", { className: "kqlmi-box", role: "status", ariaLive: "polite", hidden: true });
  const root = make(
    "section",
    { className: "kqlmi", ariaLabel: "Managed identity policy" },
    make("div", { className: "kqlmi-bar" }, title, scopes, make("span", { className: "kqlmi-grow" }, searchBox)),
    note,
    scroll,
    make("div", { className: "kqlmi-bar" }, newIdentity, addButton, summary, previewButton, discardButton),
    question,
    preview,
    status,
  );
  // JupyterLab takes plain keys for commands while a checkbox has the focus: "dd" would delete the cell.
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey) event.stopPropagation();
  });

  function add() {
    if (newIdentity.value.trim()) ask("add", { identity: newIdentity.value.trim() });
  }

  function heading(column) {
    const name = make("span", { className: "kqlmi-name", textContent: column.usage });
    const items = column.workflows.map((workflow) => {
      const found = search.length > 0 && matches(workflow.title.toLowerCase(), search);
      const text = make(found ? "mark" : "span", { textContent: workflow.title });
      return make("li", {}, text, workflow.sure === "documented" ? null : ` (${workflow.sure})`);
    });
    const only = column.cluster_only ? make("span", { className: "kqlmi-small", textContent: "cluster policy only" }) : null;
    const unknown = column.known ? null : make("span", { className: "kqlmi-small", textContent: "unknown usage, kept" });
    return make("th", { scope: "col", title: column.summary }, name, only, unknown, make("ul", {}, ...items));
  }

  function cellOf(row, column, cell, readOnly) {
    const state = [cell.state, cell.changed ? "not applied yet" : ""].filter(Boolean).join(", ");
    const box = make("input", {
      type: "checkbox",
      checked: cell.granted,
      // Allowed, but not by a grant of its own: neither ticked nor empty.
      indeterminate: cell.allowed && !cell.granted,
      disabled: readOnly,
      ariaLabel: `${row.name}: ${column.usage}${state ? ` (${state})` : ""}`,
      onchange: () => ask("toggle", { identity: row.identity, usage: column.usage }),
    });
    box.dataset.cell = `${row.identity} ${column.usage}`;
    return make(
      "td",
      { className: cell.changed ? "kqlmi-changed" : "" },
      make("label", {}, box, make("span", { className: "kqlmi-small", textContent: state })),
    );
  }

  function drawView() {
    const view = model.get("view");
    title.textContent = view.cluster;
    scopes.replaceChildren(
      ...view.scopes.map((name, place) => make("option", { value: String(place), textContent: name })),
    );
    scopes.value = String(view.scope);
    const places = view.columns.map((column, place) => place);
    const shownColumns = places.filter((place) => matches(textOf(view.columns[place]), search));
    const shownRows = view.rows.filter((row) => matches(`${row.name} ${row.identity}`.toLowerCase(), search));
    // A search that finds columns only must not empty the rows, nor the other way round.
    const columns = shownColumns.length > 0 ? shownColumns : places;
    const rows = shownRows.length > 0 ? shownRows : view.rows;
    const nothing = search.length > 0 && shownColumns.length === 0 && shownRows.length === 0;

    const focused = root.contains(document.activeElement) ? document.activeElement.dataset.cell : undefined;
    const head = make(
      "tr",
      {},
      make("th", { scope: "col" }, make("span", { className: "kqlmi-name", textContent: "Identity" })),
      ...columns.map((place) => heading(view.columns[place])),
    );
    const lines = rows.map((row) =>
      make(
        "tr",
        {},
        make(
          "th",
          { scope: "row" },
          make("span", { className: "kqlmi-name", textContent: row.name }),
          make("span", {
            className: "kqlmi-small kqlmi-mono",
            textContent: row.system && row.name === "system" ? "" : row.identity,
          }),
        ),
        ...columns.map((place) => cellOf(row, view.columns[place], row.cells[place], view.read_only)),
      ),
    );
    table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...lines));
    if (focused !== undefined) {
      const again = [...table.querySelectorAll("input")].find((box) => box.dataset.cell === focused);
      if (again) again.focus({ preventScroll: true });
    }

    const notes = [];
    if (nothing) notes.push("The search finds nothing; everything is shown.");
    if (view.rows.length === 0) notes.push("No policy that was read names an identity: add one by its object ID.");
    for (const scope of view.unread) notes.push(`The policy of the ${scope} could not be read: what it grants is not shown.`);
    note.hidden = notes.length === 0;
    note.replaceChildren(...notes.map((text) => make("p", { textContent: text })));

    summary.textContent = view.summary || "No change.";
    newIdentity.disabled = addButton.disabled = view.read_only;
    previewButton.disabled = discardButton.disabled = !view.summary;
  }

  function drawQuestion() {
    const asked = model.get("question");
    question.hidden = !asked;
    if (!asked) return;
    const target = { identity: asked.identity, usage: asked.usage };
    const offers = asked.offers.map(([action, text]) =>
      make("button", { type: "button", textContent: text, onclick: () => ask(action, target) }),
    );
    const keep = make("button", { type: "button", textContent: "Keep it", onclick: () => ask("dismiss") });
    question.replaceChildren(
      make("p", { textContent: asked.text }),
      make("div", { className: "kqlmi-bar" }, ...offers, keep),
    );
    question.scrollIntoView({ block: "nearest" });
  }

  function drawPreview() {
    const plan = model.get("preview");
    confirming = false;
    preview.hidden = !plan;
    if (!plan) return;
    const changes = plan.changes.map((change) => {
      const sign = change.kind === "grant" ? "+ grant" : "− revoke";
      const more = change.note ? ` (${change.note})` : "";
      return make("li", { textContent: `${sign} ${change.usage} · ${change.name} (${change.identity}) · ${change.scope}${more}` });
    });
    const execute = make("button", {
      type: "button",
      className: "kqlmi-main",
      textContent: "Execute",
      onclick: () => {
        if (plan.revokes > 0 && !confirming) {
          confirming = true;
          execute.textContent = `Yes, revoke ${plan.revokes} and execute`;
          return;
        }
        execute.disabled = true;
        ask("execute", { plan: plan.id, confirmed: confirming });
      },
    });
    preview.replaceChildren(
      make("p", { className: "kqlmi-name", textContent: `Plan ${plan.id} on ${plan.cluster}: ${plan.summary}` }),
      make("ul", {}, ...changes),
      ...(plan.impact.length ? [make("ul", {}, ...plan.impact.map((line) => make("li", { textContent: line })))] : []),
      ...plan.commands.map((command) => make("pre", { textContent: command, tabIndex: 0 })),
      make("div", { className: "kqlmi-bar" }, execute),
    );
    preview.scrollIntoView({ block: "nearest" });
  }

  function say(state) {
    status.hidden = !state.text;
    status.className = `kqlmi-box kqlmi-${state.kind}`;
    status.replaceChildren(
      make("p", { textContent: state.text ?? "" }),
      ...(state.hint ? [make("p", { textContent: state.hint })] : []),
    );
    if (state.kind === "error") status.scrollIntoView({ block: "nearest" });
  }

  const drawStatus = () => say(model.get("status"));
  const draws = { view: drawView, question: drawQuestion, preview: drawPreview, status: drawStatus, acknowledged };
  for (const [trait, draw] of Object.entries(draws)) model.on(`change:${trait}`, draw);
  drawView();
  drawQuestion();
  drawPreview();
  drawStatus();
  el.append(root);
  return () => {
    clearTimeout(timer);
    for (const [trait, draw] of Object.entries(draws)) model.off(`change:${trait}`, draw);
  };
}

export default { render };
