// The preview of a plan: its changes, its impact, its exact commands, and its buttons.

import { copyButton, focus, hasFocus, heading, list, make, span } from "./dom.js";

export function planPart(view, status) {
  let confirming = ""; // the ID of the plan whose revokes are being confirmed
  const element = make("div", {
    className: "kqlmi-box",
    hidden: true,
    tabIndex: -1,
    ariaLabel: "Preview of the change",
    role: "region",
  });

  function draw() {
    const plan = view.get("preview");
    const hadFocus = hasFocus(element);
    const focused = document.activeElement?.textContent;
    const opens = element.hidden || element.dataset.plan !== plan?.id;
    element.hidden = !plan;
    if (opens) confirming = "";
    if (!plan) {
      if (hadFocus) focus(status);
      return;
    }
    element.dataset.plan = plan.id;
    element.replaceChildren(
      heading(`${plan.undoes ? "Undo" : "Plan"} ${plan.short} on ${plan.cluster}: ${plan.summary}`),
      ...impact(plan),
      ...warnings(plan.warnings ?? []),
      make("ul", {}, ...inOrder(plan.changes).map(changeItem)),
      ...plan.steps.flatMap((step, at) => stepElements(step, at, plan.steps.length, view.get("progress")[at]?.outcome)),
      make("div", { className: "kqlmi-bar" }, ...actions(plan)),
    );
    const again = hadFocus && [...element.querySelectorAll("button")].find((one) => one.textContent === focused);
    if (hadFocus || (opens && view.hasFocus())) focus(again || element);
    if (opens) element.scrollIntoView({ block: "nearest" });
  }

  function actions(plan) {
    const denial = view.get("denial");
    const close = view.askButton("Close", () => view.ask("close"));
    const request = denial.reason ? [copyButton("Copy the request", plan.request)] : [];
    for (const copies of request) copies.className = "kqlmi-main";
    if (denial.reason && denial.certain) return [...request, close];
    const execute = (confirmed) => view.ask("execute", { plan: plan.id, confirmed });
    if (confirming === plan.id)
      return [
        make("p", { className: "kqlmi-name", tabIndex: -1, textContent: `This plan contains ${revokes(plan)}. Execute it?` }),
        // At the position of Execute, so that a double click or a repeated key does not confirm.
        view.askButton("Go back", () => confirm("")),
        view.askButton(`Yes, execute ${revokes(plan)}`, () => execute(true), { className: "kqlmi-main kqlmi-danger" }),
      ];
    const label = denial.reason ? "Try to execute" : "Execute";
    const act = () => (plan.revokes > 0 ? confirm(plan.id) : execute(false));
    const copyAll = copyButton("Copy all", plan.steps.map((step) => step.command).join("\n\n"));
    const className = ["kqlmi-execute", denial.reason ? "" : "kqlmi-main", plan.revokes > 0 ? "kqlmi-danger" : ""].join(" ");
    return [...request, view.askButton(label, act, { className }), copyAll, close];
  }

  function confirm(id) {
    confirming = id;
    draw();
    element.querySelector(id ? ".kqlmi-bar p" : ".kqlmi-execute").focus();
  }

  return { element, draws: [[draw, "preview progress"]] };
}

const revokes = (plan) => `${plan.revokes} ${plan.revokes === 1 ? "revoke" : "revokes"}`;

/** Return the changes with the revokes first. */
const inOrder = (changes) => [...changes].sort((one, other) => (one.kind === "grant") - (other.kind === "grant"));

function changeItem(change) {
  const revokes = change.kind !== "grant";
  const end = ` ${change.usage} · ${change.who} · ${change.scope}${change.note ? ` (${change.note})` : ""}`;
  const sign = make("b", { textContent: revokes ? "− revoke" : "+ grant" });
  return make("li", { className: revokes ? "kqlmi-revoke" : "kqlmi-grant" }, sign, end);
}

/** What the plan would stop, before all else. */
function impact(plan) {
  if (!plan.revokes) return [];
  if (plan.impact === null) return [make("p", { textContent: "Checking what would stop…" })];
  if (plan.impact.length === 0) return [heading("No use was found that would stop.")];
  const title = plan.stops > 0 ? "▲ This would stop:" : "▲ Check before you execute:";
  return [make("div", { className: "kqlmi-callout kqlmi-stops" }, heading(title), ...list(plan.impact))];
}

const warnings = (texts) =>
  texts.length ? [make("div", { className: "kqlmi-callout kqlmi-warns" }, heading("▲ Broad grants:"), ...list(texts))] : [];

function stepElements(step, at, count, outcome) {
  const textContent = `Step ${at + 1} of ${count}, ${step.scope}${outcome ? `: ${outcome}` : ""}`;
  const copying = copyButton("Copy", step.command);
  return [
    make("div", { className: "kqlmi-bar kqlmi-step" }, span("kqlmi-grow", textContent), copying),
    make(
      "pre",
      { tabIndex: 0, ariaLabel: `Command ${at + 1}`, role: "group" },
      ...step.pieces.map(([kind, text]) => (kind ? span(`kqlmi-${kind}`, text) : text)),
    ),
  ];
}
