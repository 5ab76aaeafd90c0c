// Keys: caught before the notebook takes them.

/**
 * Let `handlers` handle the keys of an element: each returns whether it did. Return how to stop that.
 *
 * A notebook takes plain keys for commands while a box has the focus: "dd" would delete the cell. JupyterLab listens where a
 * key ends, Notebook 7 where it begins, so they are caught before both; what a key does by itself, it still does. What a
 * notebook does with Ctrl, Alt and Shift+Enter, a person expects of it here too.
 */
export function catchKeys(element, handlers) {
  function onKey(event) {
    if (!element.contains(event.target)) return;
    const handled = handlers.some((handle) => handle(event));
    if (handled) event.preventDefault();
    const command = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
    if (handled || !command) event.stopPropagation();
  }

  window.addEventListener("keydown", onKey, true);
  return () => window.removeEventListener("keydown", onKey, true);
}
