// The page of a Panel, composed of parts, each of which draws itself from the traits that Python sets.

import { addPart, changePart } from "./change.js";
import { make } from "./dom.js";
import { filtersPart } from "./filters.js";
import { gridPart } from "./grid.js";
import { catchKeys } from "./keyboard.js";
import { legendPart, usagePopover } from "./legend.js";
import { bannerPart, questionPart, statusPart, theirsPart, titlePart } from "./notices.js";
import { planPart } from "./plan.js";
import { kernelOf } from "./requests.js";
import { scopesPart } from "./scopes.js";
import { viewOf } from "./view.js";

const kernels = new Map(); // by panel ID: all views of a panel share one

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
  const popover = usagePopover();
  const grid = gridPart(view, popover.explain);
  const legend = legendPart(view);
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
      make("div", { className: "kqlmi-matrix kqlmi-grow" }, filters.element, ...grid.elements, legend.element),
    ),
    ...[add, change, theirs, question, plan, status, popover].map((part) => part.element),
  );

  // In drawing order: the filters arrange rows before the grid fills them.
  const parts = [title, filters, grid, legend, scopes, banner, theirs, question, plan, add, change, status];
  const draws = [...parts.flatMap((part) => part.draws), [view.restButtons, "working"], [readOn, "working"]];

  /** Read the unread scopes, a few at a time, while there are no other requests. */
  function readOn() {
    if (!kernel.lost && kernel.idle() && !view.get("halted") && view.get("more")) view.ask("more");
  }

  // Several traits change at once, with an event each; each part is drawn once for all of them.
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
  const redraw = () => soon("working");
  kernel.views.add(redraw);

  const releaseKeys = catchKeys(view.root, [scopes.onKey, grid.onKey, add.onKey]);
  // Drawn before it is in the page, where every measurement would trigger a layout.
  for (const [[draw]] of parts.map((part) => part.draws)) draw();
  el.append(view.root);
  const unfollow = grid.follow();
  // After the first paint, so as not to delay it.
  requestAnimationFrame(() => setTimeout(kernel.meet));
  return () => {
    kernel.views.delete(redraw);
    releaseKeys();
    unfollow();
  };
}

export default { initialize, render };
