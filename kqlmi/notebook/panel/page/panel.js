// The page of a Panel, made of parts. Python holds the truth in traits, from which each part draws itself.

import { addPart, changePart } from "./change.js";
import { make } from "./dom.js";
import { filtersPart } from "./filters.js";
import { gridPart } from "./grid.js";
import { catchKeys } from "./keyboard.js";
import { bannerPart, questionPart, statusPart, theirsPart, titlePart } from "./notices.js";
import { planPart } from "./plan.js";
import { kernelOf } from "./requests.js";
import { scopesPart } from "./scopes.js";
import { viewOf } from "./view.js";

const kernels = new Map(); // by panel: all its views have one

function initialize({ model }) {
  const panel = model.get("panel_id");
  kernels.set(panel, kernelOf(model));
  return () => kernels.delete(panel);
}

function render({ model, el }) {
  const kernel = kernels.get(model.get("panel_id"));
  const view = viewOf(model, kernel);
  const title = titlePart(view);
  const scopes = scopesPart(view);
  const filters = filtersPart(view);
  const grid = gridPart(view);
  const add = addPart(view);
  const change = changePart(view);
  const status = statusPart(view);
  const banner = bannerPart(view, status.element);
  const theirs = theirsPart(view, status.element);
  const question = questionPart(view, grid.focus);
  const plan = planPart(view, status.element);
  view.root = make(
    "section",
    { className: "kqlmi", ariaLabel: "Managed identity policy" },
    title.element,
    banner.element,
    make(
      "div",
      { className: "kqlmi-middle" },
      scopes.element,
      make("div", { className: "kqlmi-matrix kqlmi-grow" }, filters.element, ...grid.elements),
    ),
    ...[add, change, theirs, question, plan, status].map((part) => part.element),
  );

  // In the order in which they are drawn: what fills rows comes after what arranges them.
  const parts = [title, filters, grid, scopes, banner, theirs, question, plan, add, change, status];
  const draws = [...parts.flatMap((part) => part.draws), [view.restButtons, "working"], [readOn, "working"]];

  /** Read what was not read yet, a few scopes at a time, while nothing else is asked. */
  function readOn() {
    if (!kernel.lost && kernel.idle() && !view.get("halted") && view.get("more")) view.ask("more");
  }

  // Several traits change at once, and each tells; what they are about is drawn once.
  const dirty = new Set();
  function soon(trait) {
    if (dirty.size === 0) queueMicrotask(flush);
    dirty.add(trait);
  }
  function flush() {
    const changed = [...dirty];
    dirty.clear();
    for (const [draw, traits] of draws) if (changed.some((trait) => traits.split(" ").includes(trait))) draw();
  }
  for (const trait of new Set(draws.flatMap(([, traits]) => traits.split(" ")))) model.on(`change:${trait}`, () => soon(trait));
  const heard = () => soon("working");
  kernel.views.add(heard);

  const releaseKeys = catchKeys(view.root, [scopes.onKey, grid.onKey, add.onKey]);
  // Drawn before it is in the page, where each measure would lay it out once more; and each part once.
  for (const [[draw]] of parts.map((part) => part.draws)) draw();
  el.append(view.root);
  const unfollow = grid.follow();
  // After the first paint, which it would only delay.
  requestAnimationFrame(() => setTimeout(kernel.meet));
  return () => {
    kernel.views.delete(heard);
    releaseKeys();
    unfollow();
  };
}

export default { initialize, render };
