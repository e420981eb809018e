// What is not saved, in plain words, as long as it is so.

import { make } from "./inert.js";
import { button } from "./layout.js";

const LATE_MS = 1500;

export class Notices {
  constructor(parts) {
    this.parts = parts;
    this.refusals = []; // what the server would not take, until the labeler has closed it
    this.trouble = ""; // why nothing is taken now
    this.size = 0;
    this.emptyAt = performance.now();
  }

  /** An act that was refused for good, with what was typed, which the labeler may want back. */
  refuse(entry, words) {
    const what = { skip: "NOT skipped", undo: "NOT undone" }[entry.do] ?? "NOT saved";
    this.refusals.push({ words: `${what}: ${words}.`,
      typed: entry.do === "answer" ? [entry.reason, entry.rewrite?.text].filter(Boolean) : [] });
  }

  /** Whether the server has not been heard for so long that the labeler should know. */
  get late() {
    return this.size > 0 && performance.now() - this.emptyAt > LATE_MS;
  }

  /** `size` acts wait in the outbox; `kept` is false where closing the page would lose them;
   *  `named` says what they are (an undo is no answer). */
  draw(size = this.size, kept = true, named = () => "answer") {
    const { parts } = this;
    this.size = size;
    if (!size) this.emptyAt = performance.now();
    const { late } = this;
    parts.unsaved.hidden = !late;
    const words = late ? `${size} ${named()}${size > 1 ? "s" : ""} not saved yet, trying again`
      + (kept ? "" : " (this browser cannot keep them: do not close the page)") : "";
    if (parts.unsaved.textContent !== words) parts.unsaved.textContent = words;
    const trouble = !this.trouble ? [] : [{ words: size
      ? `NOT saved yet: ${this.trouble}. It is kept in this browser and sent again by itself.`
      : `${this.trouble[0].toUpperCase()}${this.trouble.slice(1)}.`, typed: [], stays: true }];
    const alerts = [...this.refusals, ...trouble];
    const look = JSON.stringify(alerts);
    if (look === this.look) return;
    this.look = look;
    parts.alerts.replaceChildren(...alerts.map((each) => this.alert(each)));
  }

  alert({ words, typed, stays }) {
    return make("div", { class: "pf-alert" }, make("p", {}, words),
      ...typed.map((text) => make("textarea", { readonly: true, rows: "2",
        "aria-label": "What you typed" }, text)),
      stays ? null : button("Close", "Esc", () => this.close()));
  }

  close() {
    this.refusals = [];
    this.draw();
  }
}
