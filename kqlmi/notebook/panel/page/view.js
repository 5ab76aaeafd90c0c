// What the parts of one view share. A part is a function of a view that returns its `element`, and `draws`: what is drawn
// when which traits change, the first row all of the part, the others a piece of it again.

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
    scopeName: (place) => (place < 0 ? "all scopes: what is in force" : get("scopes")[place]),
    hasFocus: () => hasFocus(view.root),
    // While a plan runs, or another scope is fetched, nothing is asked on top; the reading in the background is no hindrance.
    frozen: () => kernel.lost || !["more", undefined].includes(get("working").action),
    askCell: (action, cell) => kernel.ask(action, { ...cell, scope: get("scope") }),
    /** Set a trait that the browser owns; without a kernel it holds in this view alone. */
    keep(trait, value) {
      try {
        model.set(trait, value);
        model.save_changes();
      } catch {
        // The view was redrawn by the change itself.
      }
    },
    /** Make a button that asks Python for something, and so rests while nothing can be asked. */
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

/** A part that is one box, with a function that draws what is in it. */
export function boxPart(traits, properties, draw) {
  const element = make("div", properties);
  return { element, draws: [[() => draw(element), traits]] };
}
