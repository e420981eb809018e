// Which presses are echoes of another: a double click, a bouncing key. Nobody has read two
// responses, or thought twice, so soon after a question appeared or after another press.

const QUIET_MS = 400;

export class Echoes {
  constructor() {
    Object.assign(this, { at: -Infinity, shownAt: -Infinity, pressedAt: -Infinity,
      undoneAt: -Infinity });
  }

  /** By when it was pressed, not by when a busy page came to it. */
  heard(event) {
    this.at = event.timeStamp;
  }

  shown() {
    this.shownAt = performance.now();
  }

  early() {
    const since = this.at - Math.max(this.shownAt, this.pressedAt);
    this.pressedAt = this.at;
    return since < QUIET_MS;
  }

  /** Undo mends the press just before it, and comes too soon only after itself. */
  earlyUndo() {
    const since = this.at - this.undoneAt;
    this.pressedAt = this.undoneAt = this.at;
    return since < QUIET_MS;
  }
}
