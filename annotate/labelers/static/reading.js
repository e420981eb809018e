// Help with reading: guidelines beside the question, marked differences, the size of the text.

import { clear, markAgainst, markDifferences } from "./diff.js";
import { inert, make } from "./inert.js";
import { button } from "./layout.js";
import { Corner } from "./outbox.js";

const SIZES = [0.85, 1, 1.15, 1.3, 1.5];
const WIDE = 900; // CSS pixels: below that guidelines would leave the responses no room

export class Reading {
  /** `desk` holds what is shown, and says aloud what was done. */
  constructor(desk) {
    this.desk = desk;
    this.differ = false;
    this.resize(0);
  }

  drawGuidelines() {
    const { parts, ask, corner } = this.desk;
    parts.guide.hidden = !ask.guidelines;
    if (!ask.guidelines) this.toggleGuidelines(false);
    else if (parts.guidelines.dataset.version !== `${ask.guidelines.version}`) {
      parts.guidelines.dataset.version = ask.guidelines.version;
      parts.guidelines.replaceChildren(
        make("div", { class: "pf-guide-head" }, make("h2", {}, "Guidelines"),
          button("Close", "G", () => this.toggleGuidelines(false),
            { "aria-label": "Close the guidelines" })),
        make("div", { class: "pf-text", dir: "auto" }, inert(ask.guidelines.html)),
        make("p", { class: "pf-quiet" }, `Version ${ask.guidelines.version}`));
      // New guidelines are to be read once; after that they open on request.
      this.toggleGuidelines(corner.get("guidelines") !== ask.guidelines.version
        && window.innerWidth >= WIDE);
    }
  }

  toggleGuidelines(open = this.desk.parts.guidelines.hidden) {
    const { parts, ask, corner } = this.desk;
    const was = !parts.guidelines.hidden;
    parts.guidelines.hidden = !open;
    parts.guide.setAttribute("aria-expanded", open);
    if (was && !open && ask?.guidelines) corner.set("guidelines", ask.guidelines.version);
  }

  /** The turns of a long conversation before its last. */
  toggleHistory() {
    const folded = this.desk.parts.conversation.querySelector("details");
    if (folded) folded.open = !folded.open;
  }

  toggleDifferences() {
    this.differ = !this.differ;
    this.desk.parts.differ.setAttribute("aria-pressed", this.differ);
    this.desk.say(this.mark());
  }

  /** Marks anew, where marks are wanted: the question or the ranking has changed. */
  again() {
    if (this.differ) this.mark();
  }

  /** Marks what differs; returns that in words. */
  mark() {
    const { item, ranking, ask, responses: { panes } } = this.desk;
    panes.forEach(clear);
    if (!this.differ || !item) return "";
    if (panes.length === 2) {
      const { left, right } = markDifferences(panes[0], panes[1]);
      return left + right ? "Marked: what the other one does not say there." : "No word differs.";
    }
    const best = ranking.best ?? 0;
    panes.forEach((pane, position) => {
      if (position !== best) markAgainst(panes[best], pane);
    });
    return `Marked: what ${ask.letters[best]} does not say there.`;
  }

  resize(step) {
    const stored = new Corner("everybody");
    const at = Math.max(0, SIZES.indexOf(stored.get("size") ?? 1));
    const size = SIZES[Math.min(SIZES.length - 1, Math.max(0, at + step))];
    if (step) stored.set("size", size);
    this.desk.parts.root.style.setProperty("--pf-size", size);
  }
}
