// The row of answers: of a pair, of a ranking, or the reasons to skip.

import { make } from "./inert.js";
import { button } from "./layout.js";

export class AnswerRow {
  /** `desk` holds the question, and is told what was pressed. */
  constructor(desk) {
    this.desk = desk;
    this.choices = new Map(); // of a pair, by key
    this.save = null; // the button, where there is a ranking
  }

  /** Drawn anew only when something about it changed: a focused button stays the same one. */
  draw() {
    const { parts, item, mode, askLook, ranking } = this.desk;
    const pair = item?.responses.length === 2;
    const before = item?.before?.choice;
    const look = JSON.stringify([Boolean(item), pair, mode.name === "skip", askLook, before]);
    if (look !== this.look) {
      this.look = look;
      this.save = null;
      parts.answers.replaceChildren(...(!item ? [] : mode.name === "skip" ? this.skipReasons()
        : pair ? this.pairChoices(before) : this.rankingActions(before)));
      parts.answers.dataset.count = parts.answers.children.length;
    }
    if (this.save) {
      this.save.firstChild.textContent = ranking.missing
        ? `Save ranking (${ranking.missing} to go)` : "Save ranking";
      this.save.disabled = !ranking.complete;
    }
  }

  pairChoices(before) {
    const { desk } = this;
    this.choices = new Map(desk.ask.choices.map((choice) => [choice.key, choice]));
    return desk.ask.choices.map((choice) => {
      const [first, ...rest] = choice.label.split(" ");
      const label = choice.side ? make("span", {}, make("b", {}, first), ` ${rest.join(" ")}`)
        : make("span", {}, choice.label);
      return button(label, choice.key, () => desk.answer({ choice: choice.name }),
        { class: "pf-button pf-choice", "data-side": choice.side || null,
          "data-strength": choice.side ? choice.strength : null,
          "aria-current": choice.name === before ? "true" : null,
          title: choice.name === before ? "Your answer before" : null });
    });
  }

  rankingActions(before) {
    const { desk } = this;
    this.choices = new Map();
    this.save = button("Save ranking", "Enter", () => desk.saveRanking(),
      { class: "pf-button pf-save" });
    return [this.save,
      ...(desk.ask.tie ? [button("Tie the last two", "=", () => desk.ranking.tie())] : []),
      button("Clear ranks", "X", () => desk.ranking.clear()),
      ...(desk.ask.both_bad ? [button("All bad", "0", () => desk.answer({ choice: "all-bad" }),
        { "aria-current": before === "all-bad" ? "true" : null })] : [])];
  }

  skipReasons() {
    const { desk } = this;
    return [...desk.ask.skip_reasons.map((reason, index) => button(
      reason[0].toUpperCase() + reason.slice(1), `${index + 1}`, () => desk.skip(reason))),
    button("Back", "Esc", () => desk.mode.close(), { class: "pf-button pf-plain" })];
  }
}
