// A view of the server's may take the field that somebody is typing into: their question was
// settled elsewhere, or the lead has changed what is asked. The letters on their way are no keys.

const PAUSE_MS = 1000;

/** Whether a key would be typed into what has the focus. */
export function isTyping(target) {
  if (!(target instanceof Element)) return false;
  if (target.isContentEditable || target.closest("textarea, select")) return true;
  return target.localName === "input"
    && !["button", "checkbox", "radio", "submit", "range"].includes(target.type);
}

export class Typing {
  constructor() {
    this.until = -Infinity;
  }

  /** What is shown changes: whoever types now goes on typing before they have seen it. */
  interrupt() {
    if (isTyping(document.activeElement)) this.until = performance.now() + PAUSE_MS;
  }

  /** Whether a key is still one of those that were being typed; each asks for a new pause, and Esc
   *  ends them. Tab goes where it goes, and a field that has the focus (again) gets its letters. */
  takes({ key, timeStamp }, target) {
    const taken = timeStamp < this.until && key !== "Tab" && !isTyping(target);
    this.until = taken && key !== "Escape" ? timeStamp + PAUSE_MS : -Infinity;
    return taken;
  }
}
