// "Make the best one better": a response to begin with, and a text field that holds it.

import { make } from "./inert.js";
import { button } from "./layout.js";

export class Rewriting {
  constructor(root, opener, changed) {
    this.root = root;
    this.opener = opener;
    this.changed = changed;
    this.field = make("textarea", { rows: "8", "aria-label": "Rewrite",
      "aria-describedby": "pf-typing" });
    this.field.addEventListener("input", () => {
      if (this.base !== null) this.store();
    });
  }

  get isOpen() {
    return !this.root.hidden;
  }

  /** A new question; `best()` is the position of the best response, where that is known. */
  show(texts, ask, draft, best) {
    Object.assign(this, { texts: texts.map(plainEnds), draft, best });
    this.base = draft.rewrite?.base ?? null;
    this.field.value = draft.rewrite?.text ?? "";
    this.field.maxLength = ask.longest_rewrite;
    this.bases = texts.map((_, position) => button(`Start from ${ask.letters[position]}`, "",
      () => this.start(position)));
    this.root.replaceChildren(
      make("div", { class: "pf-bases", role: "group", "aria-label": "Make the best one better" },
        make("span", {}, "Make the best one better:"), ...this.bases,
        button("Close", "Esc", () => this.close())), this.field);
    this.opener.classList.toggle("pf-filled", Boolean(draft.rewrite));
    if (draft.rewrite && ask.rewrite) this.open(); // a draft can be older than the question
    else this.close();
    this.draw();
  }

  toggle() {
    if (this.isOpen) {
      this.close();
      return;
    }
    if (!this.texts) return;
    this.open();
    const best = this.best();
    if (this.base === null && best !== null) this.start(best);
    (this.base === null ? this.bases[0] : this.field).focus();
  }

  open() {
    this.root.hidden = false;
    this.opener.setAttribute("aria-expanded", "true");
  }

  close() {
    const was = this.isOpen;
    this.root.hidden = true;
    this.opener.setAttribute("aria-expanded", "false");
    return was;
  }

  /** What was not changed gives way to the other response; what was changed stays. */
  start(position) {
    const untouched = this.base === null || !this.field.value.trim()
      || this.field.value === this.texts[this.base];
    this.base = position;
    if (untouched) this.field.value = this.texts[position];
    this.store();
    this.draw();
    this.field.focus();
  }

  store() {
    const changed = this.field.value.trim()
      && this.field.value.trim() !== this.texts[this.base].trim();
    this.draft.rewrite = changed ? { base: this.base, text: this.field.value } : null;
    this.opener.classList.toggle("pf-filled", Boolean(changed));
    this.changed();
  }

  draw() {
    this.bases.forEach((each, position) => {
      each.setAttribute("aria-pressed", position === this.base);
    });
    this.field.disabled = this.base === null;
  }
}

/** Lines end as they do in the text field, so that what was not changed there compares equal. */
const plainEnds = (text) => text.replace(/\r\n?/g, "\n");
