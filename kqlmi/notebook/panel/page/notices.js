// The notices around the matrix: reading progress, the state of the kernel, changes by others, questions and status.

import { button, focus, hasFocus, heading, list, make, span } from "./dom.js";
import { boxPart } from "./view.js";

export function titlePart(view) {
  const title = span("kqlmi-name kqlmi-grow");
  const reading = span("kqlmi-small");
  const resume = view.askButton("Continue", () => view.ask("more"), { hidden: true });
  const again = view.askButton("Read again", () => view.ask("read_again"));

  function draw() {
    const states = [...view.get("scope_states")];
    const halted = view.get("halted");
    const read = states.filter((state) => "rc".includes(state)).length;
    const refused = states.filter((state) => state === "x").length;
    const parts = [
      `${read} of ${view.get("scopes").length} scopes read`,
      refused ? `${refused} refused` : "",
      halted ? `stopped: ${halted}` : "",
    ];
    title.textContent = `${view.get("cluster")} · ${view.scopeName(view.get("scope"))}`;
    reading.textContent = parts.filter(Boolean).join(", ");
    resume.hidden = !halted;
  }

  const element = make("div", { className: "kqlmi-bar" }, title, reading, resume, again);
  return { element, draws: [[draw, "cluster scope scopes scope_states halted"]] };
}

/** A banner that is shown if the kernel does not respond, or the user may not change policies. */
export const bannerPart = (view, status) =>
  boxPart("denial working", { className: "kqlmi-box", tabIndex: -1, role: "alert" }, (box) => {
    const { kernel } = view;
    const denial = view.get("denial");
    const hadFocus = hasFocus(box);
    const wasUsed = view.hasFocus();
    box.hidden = !kernel.lost && !denial.reason;
    const texts = [];
    if (kernel.lost) {
      texts.push("The kernel does not respond: it is busy or has stopped. Clicks have no effect, and the panel may be outdated.");
      if (view.get("working").action === "execute")
        texts.push("A plan was being applied. To see its outcome, run %kqlmi connect again, then %kqlmi history.");
    } else if (denial.reason) {
      texts.push(`Read-only. ${denial.reason}`, denial.todo);
    }
    box.classList.toggle("kqlmi-error", kernel.lost);
    box.classList.toggle("kqlmi-warning", !kernel.lost);
    box.replaceChildren(...texts.map((textContent) => make("p", { textContent })));
    if (kernel.lost) box.append(button("Check again", kernel.greet), " or run the cell again.");
    if (kernel.lost && wasUsed) focus(box);
    else if (hadFocus) focus(status);
  });

/** The changes that others made since the policies were read. */
export const theirsPart = (view, status) =>
  boxPart("theirs", { className: "kqlmi-box", hidden: true }, (box) => {
    const changes = view.get("theirs");
    box.hidden = changes.length === 0;
    box.replaceChildren(
      heading("Others changed the policies since they were read. Your ticks now apply on top of these changes:"),
      ...list(changes),
      view.askButton("Dismiss", () => {
        view.ask("dismiss");
        focus(status);
      }),
    );
  });

/** A question about a tick; `goBack` focuses the cell that it is about. */
export const questionPart = (view, goBack) =>
  boxPart("question", { className: "kqlmi-box", hidden: true, ariaLabel: "Question", role: "group" }, (box) => {
    const question = view.get("question");
    box.hidden = !question;
    if (!question) return;
    const cell = { identity: question.identity, usage: question.usage };
    const answer = (text, send) =>
      view.askButton(text, () => {
        send();
        goBack();
      });
    box.replaceChildren(
      make("p", { textContent: question.text }),
      make(
        "div",
        { className: "kqlmi-bar" },
        ...question.offers.map(([action, text]) => answer(text, () => view.askCell(action, cell))),
        answer("Keep it", () => view.ask("dismiss")),
      ),
    );
    if (view.hasFocus()) box.querySelector("button").focus();
  });

/** The action that is running, or the result of the last one. */
export const statusPart = (view) =>
  boxPart("status working", { tabIndex: -1, role: "status" }, (box) => {
    const state = view.get("status");
    const { action, text } = view.get("working");
    const busy = action && action !== "more" && !view.kernel.lost ? text : "";
    box.className = `kqlmi-box kqlmi-status kqlmi-${busy ? "busy" : state.kind || "note"}`;
    const sign = state.kind === "warning" ? "▲ " : "";
    const parts = busy ? [busy] : [state.text && `${sign}${state.text}`, state.hint].filter(Boolean);
    box.replaceChildren(...parts.flatMap((part) => part.split("\n")).map((textContent) => make("p", { textContent })));
    if (state.kind === "error" && !busy) box.scrollIntoView({ block: "nearest" });
  });
