// What the panel tells beside the matrix: what was read, whether Python answers, what others changed, what it asks and did.

import { button, focus, hasFocus, heading, list, make, span } from "./dom.js";
import { boxPart } from "./view.js";

export function titlePart(view) {
  const title = span("kqlmi-name kqlmi-grow");
  const reading = span("kqlmi-small");
  const goOn = view.askButton("Go on", () => view.ask("more"), { hidden: true });
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
    goOn.hidden = !halted;
  }

  const element = make("div", { className: "kqlmi-bar" }, title, reading, goOn, again);
  return { element, draws: [[draw, "cluster scope scopes scope_states halted"]] };
}

/** Whether Python answers, and whether the user may write. */
export const bannerPart = (view, status) =>
  boxPart("denial working", { className: "kqlmi-box kqlmi-error", tabIndex: -1, role: "alert" }, (box) => {
    const { kernel } = view;
    const denial = view.get("denial");
    const hadFocus = hasFocus(box);
    const wasUsed = view.hasFocus();
    box.hidden = !kernel.lost && !denial.reason;
    const texts = [];
    if (kernel.lost) {
      texts.push("No kernel answers: it is busy, or gone. What is shown was read before, and what you click is not heard.");
      if (view.get("working").action === "execute")
        texts.push("A change was being carried out. Whether it landed, %kqlmi history tells after the next %kqlmi connect.");
    } else if (denial.reason) {
      texts.push(`Read-only. ${denial.reason} Ticks make a request that you can copy for somebody who may.`);
    }
    box.replaceChildren(...texts.map((textContent) => make("p", { textContent })));
    if (kernel.lost) box.append(button("Ask again", kernel.greet), " or run the cell again.");
    if (kernel.lost && wasUsed) focus(box);
    else if (hadFocus) focus(status);
  });

/** What others changed since it was read. */
export const theirsPart = (view, status) =>
  boxPart("theirs", { className: "kqlmi-box", hidden: true }, (box) => {
    const changes = view.get("theirs");
    box.hidden = changes.length === 0;
    box.replaceChildren(
      heading("Somebody else changed this since it was read; what you ticked stands on top of it:"),
      ...list(changes),
      view.askButton("Seen", () => {
        view.ask("dismiss");
        focus(status);
      }),
    );
  });

/** A question about a tick; `goBack` leads to the cell that raised it. */
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

/** What is being done, or was done last. */
export const statusPart = (view) =>
  boxPart("status working", { tabIndex: -1, role: "status" }, (box) => {
    const state = view.get("status");
    const { action, text } = view.get("working");
    const busy = action && action !== "more" && !view.kernel.lost ? text : "";
    box.className = `kqlmi-box kqlmi-status kqlmi-${busy ? "busy" : state.kind || "note"}`;
    const parts = busy ? [busy] : [state.text, state.hint].filter(Boolean);
    box.replaceChildren(...parts.flatMap((part) => part.split("\n")).map((textContent) => make("p", { textContent })));
    if (state.kind === "error" && !busy) box.scrollIntoView({ block: "nearest" });
  });
