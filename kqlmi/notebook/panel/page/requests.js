// Requests to Python, one at a time: a click writes the trait `request`, and Python answers by changing the others.

const PATIENCE = 2000; // ms that a request may go unheard before it is taken back; requests.py has the same

/**
 * The line to the kernel, one for all views of a panel. One request at a time, for the widget protocol keeps only the last
 * of several values that wait to be sent. `lost` tells that the last request went unheard; it is taken back, and Python
 * refuses it if it comes late.
 */
export function kernelOf(model) {
  const client = Math.random().toString(36).slice(2);
  const waiting = [];
  let count = 0;
  let sent = null;
  let takenBack = null;
  let heard = { id: "", at: 0 };
  let timer;

  const kernel = {
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
      if (heard.id === "" && sent === null) kernel.greet();
    },
    idle: () => waiting.length === 0 && sent === null && !model.get("working").action,
    /** Return what was asked for a cell and is not yet answered. */
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
    kernel.lost = true;
    takenBack = sent?.id;
    sent = null;
    waiting.length = 0;
    for (const redraw of kernel.views) redraw();
  }

  model.on("change:acknowledged", () => {
    const id = model.get("acknowledged");
    if (id !== sent?.id && id !== takenBack) return;
    clearTimeout(timer);
    heard = { id, at: performance.now() };
    sent = takenBack = null;
    kernel.lost = false;
    for (const redraw of kernel.views) redraw();
    send();
  });
  model.on("change:working", send);
  // Not of anywidget's own interface, but what Jupyter's widgets tell when a kernel ends; elsewhere a click finds out.
  model.on("comm_live_update", kernel.greet);
  return kernel;
}
