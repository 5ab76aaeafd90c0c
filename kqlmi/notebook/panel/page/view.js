// The state that the parts of a view share. A part is a function of a view that returns its `element` and `draws`: pairs of
// a function and the traits whose change calls it. The first pair draws the whole part, the others a piece of it.

import { button, hasFocus, make, rest } from "./dom.js";

export function viewOf(model, kernel) {
  const key = Math.random().toString(36).slice(2);
  const get = (trait) => model.get(trait);
  const view = {
    kernel,
    get,
    ask: kernel.ask,
    root: null, // the element of the view, once its parts are made
    id: (name) => `kqlmi-${key}-${name}`,
    overview: () => get("scope") < 0,
    scopeName: (place) => (place < 0 ? "all scopes: effective access" : get("scopes")[place]),
    hasFocus: () => hasFocus(view.root),
    // No requests are made while a slow action runs, except for reading in the background.
    frozen: () => kernel.lost || !["more", undefined].includes(get("working").action),
    askCell: (action, cell) => kernel.ask(action, { ...cell, scope: get("scope") }),
    /** Set a trait that the browser owns; without a kernel, it is set in this view only. */
    keep(trait, value) {
      try {
        model.set(trait, value);
        model.save_changes();
      } catch {
        // Setting the trait has redrawn the view already.
      }
    },
    /** Make a button for a request, which is disabled while no requests can be made. */
    askButton(text, onclick, properties = {}) {
      const made = button(text, onclick, properties);
      made.dataset.asks = "";
      rest(made, view.frozen());
      return made;
    },
    restButtons() {
      for (const made of view.root.querySelectorAll("button[data-asks]")) rest(made, view.frozen());
    },
  };
  return view;
}

/** Make a part that is a single box, whose content a function draws. */
export function boxPart(traits, properties, draw) {
  const element = make("div", properties);
  return { element, draws: [[() => draw(element), traits]] };
}
