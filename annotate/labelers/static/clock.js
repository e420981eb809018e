// How long a question took: since it was visible, and how much of that somebody was there.

const STILL_THERE_MS = 30_000;
const TICK_MS = 500;
const INPUTS = ["keydown", "pointerdown", "pointermove", "wheel", "scroll", "touchstart"];

export class Clock {
  constructor() {
    this.input = performance.now();
    this.begin();
    this.seen = (event) => {
      // Whoever comes back is there from now on, not for the time in between.
      if (event.type === "visibilitychange" && document.visibilityState === "visible") {
        this.counted = performance.now();
      }
      this.count();
      this.input = performance.now();
    };
    for (const name of INPUTS) {
      document.addEventListener(name, this.seen, { capture: true, passive: true });
    }
    document.addEventListener("visibilitychange", this.seen);
    this.timer = setInterval(() => this.count(), TICK_MS);
  }

  /** A question appeared; `spent` is what it took before a reload. */
  begin(spent = null) {
    this.shown = performance.now();
    this.counted = this.shown;
    this.before = spent ?? { seconds: 0, active: 0 };
    this.active = 0;
    this.input = this.shown;
  }

  count() {
    const now = performance.now();
    if (document.visibilityState === "visible") {
      const until = Math.min(now, this.input + STILL_THERE_MS);
      this.active += Math.max(0, until - this.counted);
    }
    this.counted = now;
  }

  /** Seconds since the question was visible, and those in which somebody was there. */
  spent() {
    this.count();
    return {
      seconds: this.before.seconds + (performance.now() - this.shown) / 1000,
      active: this.before.active + this.active / 1000,
    };
  }

  stop() {
    clearInterval(this.timer);
    for (const name of INPUTS) document.removeEventListener(name, this.seen, { capture: true });
    document.removeEventListener("visibilitychange", this.seen);
  }
}
