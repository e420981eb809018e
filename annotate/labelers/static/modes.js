// What number keys mean: an answer; or why a question is skipped; or flags, or scores, of a response.

export class Mode {
  constructor(desk) {
    this.desk = desk;
    this.name = null; // "skip", "flags" or "scores"; null while numbers are answers
    this.at = 0; // the response whose flags or scores are meant
  }

  reset() {
    this.name = null;
  }

  openSkip() {
    const { desk } = this;
    if (desk.waiting || desk.feedback) return;
    this.close();
    this.name = "skip";
    desk.drawAnswers();
    desk.say("Why? Choose a reason, or go back (Esc).");
  }

  /** Number keys go to the flags (or scores) of A, then of B, …, then to the answers again. */
  nextGroup(kind) {
    const { desk } = this;
    if (!desk.item || desk.waiting || desk.feedback) return;
    const at = this.name === kind ? this.at + 1 : 0;
    this.close();
    if (at >= desk.item.responses.length) return;
    Object.assign(this, { name: kind, at });
    const group = desk.responses.activate(kind, at);
    const [what, key] = kind === "flags" ? ["Flags", "F"] : ["Score", "P"];
    desk.drawAnswers();
    desk.say(`${what} of ${desk.ask.letters[at]}: press a number 1 to ${Math.min(9, group.children.length)}, `
      + `${key} for the next, Esc to go back.`);
  }

  pressNumber(digit) {
    const group = this.desk.responses.activate(this.name, this.at);
    group.children[digit - 1]?.click();
    if (this.name === "scores" && digit && digit <= group.children.length) this.nextGroup("scores");
  }

  /** Back to the answers; whether there was anything to leave. */
  close() {
    const was = this.name;
    this.reset();
    this.desk.responses.activate(null);
    if (was) {
      this.desk.say("");
      this.desk.drawAnswers();
    }
    return Boolean(was);
  }
}
