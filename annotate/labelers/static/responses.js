// The responses of one question: text, letter, flags and score of each.

import { inert, make } from "./inert.js";
import { button } from "./layout.js";

/** Sanitised text, made ahead of its turn: what takes time is done before it is wanted. */
export function prepare(question) {
  return {
    conversation: inert(question.conversation),
    texts: question.responses.map((response) => inert(response.html)),
    cuts: question.responses.map((response) => response.cut),
  };
}

export class Responses {
  /** `changed()` after a flag or a score; `place(position)` and `grab(event, handle)` for ranks. */
  constructor(root, { changed, place, grab }) {
    this.root = root;
    this.on = { changed, place, grab };
    this.panes = [];
  }

  show({ texts, cuts }, ask, draft) {
    this.ask = ask;
    this.draft = draft;
    this.panes = texts.map((text) => make("div", { class: "pf-text", dir: "auto" }, text));
    this.groups = { flags: [], scores: [] };
    this.ranked = texts.length > 2;
    this.places = [];
    this.root.dataset.count = texts.length;
    this.root.replaceChildren(...this.panes.map((pane, position) => make("article",
      { class: "pf-response", "aria-label": `Response ${ask.letters[position]}` },
      this.head(position), pane,
      // Outside the text: it is none of the words that are compared or rewritten.
      cuts[position] ? make("p", { class: "pf-cut" }, cuts[position]) : null)));
  }

  head(position) {
    const letter = this.ask.letters[position];
    const heading = make("h2", { class: "pf-letter" }, letter);
    const head = make("div", { class: "pf-head" }, heading);
    if (this.ranked) {
      heading.classList.add("pf-handle");
      heading.dataset.position = position;
      heading.title = "Drag into the ranking";
      heading.addEventListener("pointerdown", (event) => this.on.grab(event, heading));
      this.places[position] = button("Next best", `${position + 1}`, () => this.on.place(position),
        { class: "pf-button pf-place" });
      head.append(this.places[position]);
    }
    if (this.ask.scores.length) head.append(this.scores(position, letter));
    if (this.ask.flags.length) head.append(this.flags(position, letter));
    return head;
  }

  flags(position, letter) {
    const group = make("div", { class: "pf-flags", role: "group", "aria-label": `Flags of ${letter}` });
    const chosen = () => this.draft.flags[position] ?? [];
    this.ask.flags.forEach((flag, index) => {
      const chip = button(flag, index < 9 ? `${index + 1}` : "", () => {
        this.draft.flags[position] = chosen().includes(flag)
          ? chosen().filter((each) => each !== flag) : [...chosen(), flag];
        chip.setAttribute("aria-pressed", chosen().includes(flag));
        this.on.changed();
      }, { class: "pf-flag", "aria-pressed": chosen().includes(flag), "aria-keyshortcuts": null });
      group.append(chip);
    });
    this.groups.flags[position] = group;
    return group;
  }

  /** One stop of the Tab key, within which the arrow keys choose, as in any group of radio buttons. */
  scores(position, letter) {
    const group = make("div", { class: "pf-scores", role: "radiogroup",
      "aria-label": `Score of ${letter}, ${this.ask.scores.at(-1)} is best` });
    const radios = this.ask.scores.map((score) => button(`${score}`, "", () => {
      this.draft.scores[position] = score;
      draw();
      this.on.changed();
    }, { class: "pf-score", role: "radio" }));
    const draw = () => radios.forEach((radio, index) => {
      const chosen = this.draft.scores[position];
      radio.setAttribute("aria-checked", chosen === this.ask.scores[index]);
      radio.tabIndex = chosen === this.ask.scores[index] || (!chosen && index === 0) ? 0 : -1;
    });
    group.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const at = radios.indexOf(event.target);
      if (!step || at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation(); // on the desk they scroll
      const next = radios[(at + step + radios.length) % radios.length];
      next.focus();
      next.click();
    });
    draw();
    group.append(...radios);
    this.groups.scores[position] = group;
    return group;
  }

  /** The group of flags or scores that number keys go to now; null for none. */
  activate(kind, position) {
    for (const group of [...this.groups?.flags ?? [], ...this.groups?.scores ?? []]) {
      group.classList.remove("pf-active");
    }
    const group = kind ? this.groups[kind][position] : null;
    group?.classList.add("pf-active");
    group?.scrollIntoView({ block: "nearest" });
    return group;
  }

  /** Ranks on the buttons that give them. */
  drawRanks(rankOf) {
    this.places.forEach((place, position) => {
      const rank = rankOf(position);
      const words = rank ? `Rank ${rank}` : "Next best";
      place.firstChild.textContent = words;
      place.setAttribute("aria-label", `${words}: ${this.ask.letters[position]}`);
      place.setAttribute("aria-pressed", rank !== null);
    });
  }

  /** Whether each response has a score, where scores are asked for. */
  get scored() {
    return !this.ask.scores.length
      || this.panes.every((_, position) => this.draft.scores[position]);
  }
}
