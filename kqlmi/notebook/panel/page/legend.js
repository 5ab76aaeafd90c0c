// The legend of the marks in the matrix, and the popover with what a usage allows.

import { focus, heading, list, make, span } from "./dom.js";
import { boxPart } from "./view.js";

const MARKS = [
  ["✓", "granted here"],
  ["◆", "through the cluster or All"],
  ["◈", "granted here and through these: redundant"],
  ["+", "to grant"],
  ["−", "to revoke"],
  ["–", "no effect here: cluster only"],
  ["∅", "granted without effect"],
];
const SHARES = [
  ["%", "of the databases"],
  ["◆", "everywhere, through the cluster"],
];

export const legendPart = (view) =>
  boxPart("scope refusal", { className: "kqlmi-bar kqlmi-small kqlmi-legend" }, (box) => {
    box.hidden = Boolean(view.get("refusal"));
    const marks = view.overview() ? SHARES : MARKS;
    box.replaceChildren(
      ...marks.map(([mark, meaning]) => {
        const sign = span("kqlmi-mark");
        sign.dataset.mark = mark;
        return make("span", { className: "kqlmi-meaning" }, sign, meaning);
      }),
    );
  });

/** A popover beside a heading; `explain` opens it for a column. */
export function usagePopover() {
  const element = make("div", { className: "kqlmi-popover", tabIndex: -1, popover: "auto", role: "dialog" });

  function explain(column, beside) {
    const texts = column.workflows.map(({ title, sure }) => (sure === "documented" ? title : `${title} (${sure})`));
    element.ariaLabel = column.usage;
    element.replaceChildren(
      heading(column.usage),
      make("p", { textContent: column.summary }),
      ...(column.cluster_only ? [make("p", { textContent: "It has an effect only in the policy of the cluster." })] : []),
      ...(texts.length ? [heading("A tick enables:")] : []),
      ...list(texts),
    );
    element.showPopover?.();
    const { left, bottom } = beside.getBoundingClientRect();
    element.style.left = `${Math.max(8, Math.min(left, window.innerWidth - element.offsetWidth - 8))}px`;
    element.style.top = `${Math.max(8, Math.min(bottom + 4, window.innerHeight - element.offsetHeight - 8))}px`;
    focus(element);
  }

  return { element, explain };
}
