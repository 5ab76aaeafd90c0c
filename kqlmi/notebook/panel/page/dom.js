// Helpers that make elements; text is never set as HTML.

/** Make an element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export const span = (className, textContent = "") => make("span", { className, textContent });

/** Make a button. It is disabled by `ariaDisabled`, as `disabled` would lose the focus. */
export function button(textContent, act, properties = {}) {
  const onclick = ({ currentTarget }) => {
    if (currentTarget.ariaDisabled !== "true") act();
  };
  return make("button", { type: "button", textContent, onclick, ...properties });
}

const TAIL = 8; // letters that a text keeps at its end

/** Make an empty text that shows its beginning and its end if it is too long for its place. */
export const middleCut = (className) => make("span", { className: `kqlmi-middle-cut ${className}` }, span("kqlmi-cut"), span(""));

export function setMiddleCut(made, text) {
  const letters = [...text];
  made.firstChild.textContent = letters.slice(0, -TAIL).join("");
  made.lastChild.textContent = letters.slice(-TAIL).join("");
}

export function rest(made, off) {
  made.ariaDisabled = String(off);
}

export function copyButton(text, what) {
  const made = button(text, async () => {
    await copy(what);
    made.textContent = "Copied";
    setTimeout(() => (made.textContent = text), 1500);
  });
  return made;
}

/** Copy text, even if the page may not use the clipboard API. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export const heading = (textContent) => make("p", { className: "kqlmi-name", textContent });

/** Make a list, or nothing if it would be empty. */
export const list = (items) =>
  items.length ? [make("ul", {}, ...items.map((textContent) => make("li", { textContent })))] : [];

/** Focus an element without scrolling. */
export const focus = (element) => element.focus({ preventScroll: true });

export const hasFocus = (element) => element.contains(document.activeElement);

export const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

export const holds = (text, wanted) => wanted.every((word) => text.includes(word));
