// Which key was meant, wherever it lies on the keyboard, and whether it was meant for us.

/** "1" to "9" and "0" also where they need Shift (as on French keyboards); letters in lower case. */
export function keyOf(event) {
  if (/^[0-9]$/.test(event.key)) return event.key;
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code);
  if (digit && !event.shiftKey) return digit[1];
  if (event.key === "-" || event.key === "−") return "-";
  if (event.key === "+" || event.key === "=") return event.key;
  if (event.shiftKey && event.key.length === 1) return "";
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

/** Whether a key would be typed into what has the focus. */
export function isTyping(target) {
  if (!(target instanceof Element)) return false;
  if (target.isContentEditable || target.closest("textarea, select")) return true;
  return target.localName === "input"
    && !["button", "checkbox", "radio", "submit", "range"].includes(target.type);
}

/** Whether the key belongs to the browser, an input method or a dialog. */
export function isForeign(event) {
  return event.ctrlKey || event.altKey || event.metaKey || event.isComposing
    || document.querySelector("[role=dialog]") !== null;
}
