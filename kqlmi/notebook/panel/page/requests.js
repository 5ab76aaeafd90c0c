// Requests to Python: a click sets the trait `request`, and Python replies by changing other traits.

const PATIENCE = 2000; // ms to wait for the acknowledgement of a request before it is discarded; requests.py has the same value

/**
 * Return the connection to the kernel, which all views of a panel share. It sends one request at a time, as the widget
 * protocol keeps only the last of several values that are waiting to be sent. `lost` is true if the last request was not
 * acknowledged in time; it is discarded, and Python refuses it if it arrives late.
 */
export function kernelOf(model) {
  const client = Math.random().toString(36).slice(2);
  const waiting = [];
  let count = 0;
  let sent = null;
  let discarded = null;
  let acknowledged = { id: "", at: 0 };
  let timer;

  const kernel = {
    lost: false,
    views: new Set(), // the functions that redraw each view after an acknowledgement, or without one
    ask(action, fields = {}) {
      waiting.push({ action, ...fields });
      send();
    },
    /** Ask whether the kernel responds, and drop all other requests. */
    greet() {
      waiting.length = 0;
      post({ action: "hello" });
    },
    /** Greet, unless another view has done so. */
    meet() {
      if (acknowledged.id === "" && sent === null) kernel.greet();
    },
    idle: () => waiting.length === 0 && sent === null && !model.get("working").action,
    /** Return the unanswered request for a cell, if there is one. */
    pending: (identity, usage) =>
      [sent, ...waiting].find((one) => one?.action === "toggle" && one.identity === identity && one.usage === usage),
  };

  function send() {
    // While a slow action runs, other requests wait.
    if (sent === null && waiting.length > 0 && !model.get("working").action) post(waiting.shift());
  }

  function post(request) {
    clearTimeout(timer);
    count += 1;
    sent = { id: `${client}-${count}`, after: acknowledged.id, since: performance.now() - acknowledged.at, ...request };
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
    discarded = sent?.id;
    sent = null;
    waiting.length = 0;
    for (const redraw of kernel.views) redraw();
  }

  model.on("change:acknowledged", () => {
    const id = model.get("acknowledged");
    if (id !== sent?.id && id !== discarded) return;
    clearTimeout(timer);
    acknowledged = { id, at: performance.now() };
    sent = discarded = null;
    kernel.lost = false;
    for (const redraw of kernel.views) redraw();
    send();
  });
  model.on("change:working", send);
  // This event of Jupyter's widgets, not of anywidget, reports that the kernel has ended; other hosts lack it.
  model.on("comm_live_update", kernel.greet);
  return kernel;
}
