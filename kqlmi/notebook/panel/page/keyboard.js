// The keys of the panel, which are caught before the notebook handles them.

/**
 * Pass the keys of an element to `handlers`, which return whether they handled a key; return a function that stops this.
 *
 * A notebook treats plain keys as commands while a checkbox has the focus: "dd" would delete the cell. JupyterLab listens
 * in the bubbling phase, Notebook 7 in the capturing phase, so keys are caught on the window, before both; their default
 * actions in the browser remain. Shortcuts with Ctrl or Alt, and Shift+Enter, still reach the notebook.
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
