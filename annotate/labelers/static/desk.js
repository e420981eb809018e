// The labeling page. The server (annotate/labelers/desk.py) decides; this shows and collects. An answer goes
// into the outbox, the next question, which is here already, is shown at once, and the outbox is
// sent until the server has acknowledged what is in it: only then does the page say "Saved".

import { AnswerRow } from "./answers.js";
import { Clock } from "./clock.js";
import { Echoes } from "./echoes.js";
import { KeyList } from "./key_list.js";
import { pressKey } from "./keys.js";
import { drawFeedback, drawHint, drawProgress, onPhone, skeleton } from "./layout.js";
import { Leaving, lookAfterNextPage } from "./leaving.js";
import { Mode } from "./modes.js";
import { drawNothing, whyNothing } from "./nothing.js";
import { Notices } from "./notices.js";
import { Corner, Drafts, Outbox, RETRY_MS, taskOf } from "./outbox.js";
import { Ranking } from "./ranking.js";
import { Reading } from "./reading.js";
import { prepare, Responses } from "./responses.js";
import { Rewriting } from "./rewriting.js";
import { isTyping, Typing } from "./typing.js";

const TOO_SOON = "A press came too soon after the last one and was ignored.";
const LOOK_MS = 2000;

const desks = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  let desk = desks.get(parentElement);
  if (!desk) desks.set(parentElement, desk = new Desk(parentElement));
  desk.receive(data, (message) => setTriggerValue("send", message));
  return () => {
    desks.delete(parentElement);
    desk.leave();
  };
}

class Desk {
  constructor(parent) {
    this.parts = skeleton({
      guidelines: () => this.reading.toggleGuidelines(),
      differences: () => this.reading.toggleDifferences(),
      smaller: () => this.reading.resize(-1), larger: () => this.reading.resize(1),
      keys: () => this.ask && this.keyList.toggle(this.ask.keys),
      reason: () => this.openReason(), flags: () => this.mode.nextGroup("flags"),
      scores: () => this.mode.nextGroup("scores"), rewrite: () => this.rewriting.toggle(),
      skip: () => this.mode.openSkip(), undo: () => this.undo(),
    });
    this.clock = new Clock();
    this.echoes = new Echoes();
    this.leaving = new Leaving();
    this.typing = new Typing();
    this.keyList = new KeyList();
    this.notices = new Notices(this.parts);
    this.row = new AnswerRow(this);
    this.mode = new Mode(this);
    this.reading = new Reading(this);
    this.ranking = new Ranking(this.parts.ranking, (words) => this.ranked(words));
    this.responses = new Responses(this.parts.responses, { changed: () => this.keep(),
      place: (position) => this.ranking.place(position),
      grab: (event, handle) => this.ranking.grab(event, handle) });
    this.rewriting = new Rewriting(this.parts.rewrite, this.parts.openRewrite, () => this.keep());
    Object.assign(this, { number: 0, item: null, supply: [], prepared: new Map(),
      waiting: null, wanted: null, feedback: null, said: "", ignored: false });
    this.parts.reason.addEventListener("input", () => this.keep());
    this.listen();
    this.parts.root.append(this.keyList.root);
    parent.append(this.parts.root);
    this.place();
  }

  listen() {
    this.listeners = [
      [document, "click", (event) => {
        this.echoes.heard(event);
        this.leaving.heard(event);
      }, true],
      [document, "keydown", (event) => {
        this.echoes.heard(event);
        pressKey(this, event);
      }, true],
      [document, "pointermove", () => this.parts.root.classList.remove("pf-fresh")],
      [window, "beforeunload", (event) => { if (this.outbox?.size) event.preventDefault(); }],
      [window, "pagehide", () => this.keep(true)],
      [window, "popstate", () => this.leaving.went()],
      [window, "online", () => this.send()],
      [window, "resize", () => this.place()],
      [window, "storage", (event) => this.elsewhere(event)],
    ];
    for (const [target, ...rest] of this.listeners) target.addEventListener(...rest);
    this.timer = setInterval(() => this.tick(), 500);
  }

  leave() {
    this.keep(true);
    clearInterval(this.timer);
    this.clock.stop();
    for (const [target, ...rest] of this.listeners) target.removeEventListener(...rest);
    this.parts.root.remove();
    lookAfterNextPage();
  }

  /** Below the app's own header, which is as high as it is. */
  place() {
    const header = document.querySelector("[data-testid=stHeader]");
    this.parts.root.style.top = `${header ? header.getBoundingClientRect().bottom : 0}px`;
  }

  // --- what the server says ---

  receive(data, trigger) {
    this.trigger = trigger;
    if (data.owner && data.owner !== this.owner) this.seat(data.owner);
    this.data = data;
    if (data.ask) this.asked(data.ask);
    if (!this.outbox) return this.refused(data.refused);
    this.notices.trouble = "";
    this.settle(data.acks);
    if (data.refused) this.refused(data.refused);
    else this.supplied(data);
    if (this.outbox.fresh && this.outbox.size) this.send(); // what an earlier visit has left
    this.outbox.fresh = false;
    return this.drawState();
  }

  /** Whoever signs in, also in another tab, begins at an empty desk: nothing waits for what somebody
   *  else has sent. */
  seat(owner) {
    Object.assign(this, { owner, corner: new Corner(owner), spent: new Map(), item: null,
      waiting: null, wanted: null, feedback: null });
    this.outbox = new Outbox(this.corner);
    this.drafts = new Drafts(this.corner);
    this.drafts.tidy();
    this.parts.feedback.hidden = true;
    this.say("");
  }

  refused(words) {
    this.notices.trouble = words;
    this.drawState();
  }

  /** Another question than before (a lead may change it at any time) is drawn anew. */
  asked(ask) {
    const look = JSON.stringify({ ...ask, guidelines: null });
    this.changed = this.askLook !== undefined && look !== this.askLook;
    this.askLook = look;
    this.ask = ask;
    if (this.changed) this.typing.interrupt(); // before a field goes that is asked for no more
  }

  settle(acks) {
    for (const ack of acks) {
      const awaited = this.waiting === ack.key;
      const entry = ack.final ? this.outbox.take(ack.key) : null;
      if (!ack.final) {
        if (this.outbox.holds(ack.key)) this.notices.trouble = ack.words;
      } else if (entry) {
        if (awaited) this.waiting = null;
        this.notices.trouble = "";
        if (ack.ok) this.kept(entry, ack, awaited);
        else this.notices.refuse(entry, ack.words);
      }
    }
  }

  kept(entry, ack, awaited) {
    this.say(ack.words, this.ignored);
    if (entry.do === "answer") this.drafts.drop(taskOf(ack.key));
    if (entry.do === "undo") this.wanted = ack.show ?? null;
    if (ack.feedback && awaited) this.showFeedback(ack.feedback);
  }

  /** New questions: keep the one that is being read, or show what comes next. */
  supplied(data) {
    this.supply = [data.question, data.ahead].filter(Boolean);
    const keys = new Set(this.supply.map((each) => each.key));
    for (const key of this.prepared.keys()) if (!keys.has(key)) this.prepared.delete(key);
    for (const each of this.supply) {
      if (each.key !== this.item?.key && !this.prepared.has(each.key)) {
        this.prepared.set(each.key, prepare(each));
      }
    }
    drawProgress(this.parts, data.progress);
    this.drawAsk();
    if (this.item) this.drawHint();
    if (this.feedback || (this.waiting && this.item)) return;
    const wanted = this.supply.find((each) => each.key === this.wanted);
    const same = this.item
      && this.supply.find((each) => taskOf(each.key) === taskOf(this.item.key));
    this.wanted = null;
    if (wanted) this.show(wanted);
    else if (same && !this.outbox.settled().has(taskOf(same.key))) {
      if (this.changed) this.redraw(same);
      this.item = { ...this.item, key: same.key };
      this.drawAnswers();
    } else this.next();
  }

  /** The same question under another ask; whoever types into what is left of it goes on typing. */
  redraw(same) {
    const field = document.activeElement;
    this.keep();
    this.show(same);
    if (isTyping(field) && this.parts.root.contains(field)) field.focus({ preventScroll: true });
  }

  next() {
    const settled = this.outbox.settled();
    const next = this.supply.find((each) => !settled.has(taskOf(each.key)));
    if (next) this.show(next);
    else this.showNothing();
  }

  // --- showing ---

  show(item) {
    this.typing.interrupt();
    const prepared = this.prepared.get(item.key) ?? prepare(item);
    const task = taskOf(item.key);
    this.prepared.delete(item.key);
    this.timed();
    this.item = item;
    this.mode.reset();
    this.draft = this.drafts.begin(task, item.before);
    const { parts } = this;
    parts.note.hidden = true;
    parts.root.classList.remove("pf-empty-desk");
    // The pointer rests where it pressed; no answer of this question is to look chosen for that.
    parts.root.classList.add("pf-fresh");
    parts.conversation.replaceChildren(prepared.conversation);
    this.responses.show(prepared, this.ask, this.draft);
    parts.reason.value = this.draft.reason;
    parts.reason.classList.toggle("pf-open", Boolean(this.draft.reason)); // phones show it on request
    parts.practice.hidden = !item.practice;
    const count = item.responses.length;
    this.drawHint();
    parts.ranking.hidden = count === 2;
    this.ranking.reset(count === 2 ? 0 : count, this.draft.tiers, this.ask.tie, this.ask.letters);
    this.responses.drawRanks((position) => this.ranking.rankOf(position));
    this.rewriting.show(item.responses.map((response) => response.text), this.ask, this.draft,
      () => this.ranking.best);
    this.drawAnswers();
    parts.root.scrollTop = parts.area.scrollTop = 0; // a low window scrolls the whole desk
    this.toLastTurn();
    this.number += 1;
    parts.root.dataset.question = this.number;
    parts.area.setAttribute("aria-label", `Question ${this.number}`);
    this.takeFocus();
    this.echoes.shown();
    this.clock.begin(this.spent.get(task) ?? this.draft.spent ?? item.before?.spent);
    this.tell(this.number);
    setTimeout(() => this.reading.again());
  }

  /** What a question took counts on when it comes back: after Undo, or behind another one. */
  timed() {
    if (this.item) this.spent.set(taskOf(this.item.key), this.clock.spent());
  }

  /** What the responses answer is in view, however much was said before it. */
  toLastTurn() {
    const box = this.parts.conversation.querySelector(".pf-conversation");
    const last = box?.lastElementChild;
    if (last && last !== box.firstElementChild) box.scrollTop = last.offsetTop - box.offsetTop;
  }

  /** Whoever measures hears of it once the responses are painted. */
  tell(n) {
    requestAnimationFrame(() => requestAnimationFrame(() => {
      document.dispatchEvent(new CustomEvent("prefloop:shown", { detail: { n } }));
    }));
  }

  /** So that the keyboard scrolls, and a screen reader begins, at the top of the question. */
  takeFocus() {
    const { activeElement, body } = document;
    if (activeElement === body || this.parts.root.contains(activeElement)) {
      this.parts.area.focus({ preventScroll: true });
    }
  }

  showNothing() {
    const nothing = this.nothing();
    this.typing.interrupt();
    this.item = null;
    this.mode.reset();
    this.nothingLook = JSON.stringify(nothing);
    drawNothing(this.parts, nothing);
    this.rewriting.close();
    this.drawAnswers();
  }

  nothing() {
    return whyNothing(this.notices, this.data?.nothing);
  }

  drawHint() {
    drawHint(this.parts, this.data.unguided, this.item.responses.length);
  }

  drawAsk() {
    const { parts, ask } = this;
    this.reading.drawGuidelines();
    parts.reason.hidden = !ask.reason;
    parts.reason.maxLength = ask.longest_reason;
    parts.openReason.hidden = !ask.reason;
    parts.flag.hidden = !ask.flags.length;
    parts.score.hidden = !ask.scores.length;
    parts.openRewrite.hidden = !ask.rewrite;
  }

  /** What can be pressed now. */
  drawAnswers() {
    const { parts } = this;
    this.row.draw();
    parts.root.dataset.mode = this.mode.name ?? "";
    parts.undo.disabled = !this.lastDone() || Boolean(this.waiting) || Boolean(this.feedback);
    parts.skip.disabled = !this.item || this.mode.name === "skip" || Boolean(this.waiting);
    parts.root.classList.toggle("pf-waiting", Boolean(this.waiting));
  }

  /** What is kept and what is not, and what can be pressed now. */
  drawState() {
    this.notices.draw(this.outbox?.size ?? 0, this.corner?.keeps("out/"), () =>
      (this.outbox.entries().every((entry) => entry.do === "answer") ? "answer" : "change"));
    if (!this.item && JSON.stringify(this.nothing()) !== this.nothingLook) this.showNothing();
    this.drawAnswers();
  }

  ranked(words) {
    this.draft.tiers = this.ranking.tiers;
    this.responses.drawRanks((position) => this.ranking.rankOf(position));
    this.drawAnswers();
    this.say(words);
    this.keep();
    this.reading.again();
  }

  /** That a press was ignored stands behind what became of the one before, and hides nothing. */
  say(words, ignored = false) {
    Object.assign(this, { said: words, ignored });
    this.parts.status.textContent = [words, ignored ? TOO_SOON : ""].filter(Boolean).join(" ");
  }

  // --- what the labeler does ---

  answer(what) {
    if (!this.item || this.waiting || this.feedback || this.early()) return;
    if (!this.responses.scored) {
      this.say(`Give each response a score first${onPhone() ? "" : " (P, then a number)"}.`);
      return;
    }
    const { item, draft, ask } = this;
    const { seconds, active } = this.clock.spent();
    this.keep();
    this.outbox.put({ key: item.key, do: "answer", ...what, flags: draft.flags,
      scores: ask.scores.length ? draft.scores : {}, reason: this.parts.reason.value,
      rewrite: ask.rewrite ? draft.rewrite : null, seconds, active_seconds: active,
      question_version: ask.version, guidelines_version: ask.guidelines?.version ?? null });
    this.done(item);
  }

  saveRanking() {
    if (this.ranking.complete) this.answer({ tiers: this.ranking.tiers });
    else this.say(`${this.ranking.missing} to go.`);
  }

  skip(reason) {
    if (!this.item || this.waiting || this.early()) return;
    this.keep();
    this.outbox.put({ key: this.item.key, do: "skip", reason });
    this.done(this.item);
  }

  /** The act is in the outbox: on to the next question, which is here already. */
  done(item) {
    this.say("Saving …");
    this.leaving.stays();
    this.timed();
    this.corner.set("done", { task: taskOf(item.key), at: Date.now() });
    if (item.practice && this.mode.name !== "skip") {
      this.waiting = item.key;
      this.drawAnswers();
    } else {
      this.item = null;
      this.next();
    }
    this.send();
  }

  /** What Undo brings back: the last act of this page, or what the server knows of. */
  lastDone() {
    const entries = this.outbox?.entries() ?? [];
    const last = entries.at(-1);
    if (last && last.do !== "undo") {
      return { task: taskOf(last.key), of: last.do };
    }
    const known = this.data?.last;
    return known && !entries.length ? { task: known.id, of: known.of } : null;
  }

  undo() {
    const last = this.lastDone();
    if (this.waiting || this.feedback || this.early(this.echoes.earlyUndo())) return;
    if (!last) {
      this.say("There is nothing to undo.");
      return;
    }
    const once = `${Date.now().toString(16)}${Math.random().toString(16).slice(2, 10)}`;
    const key = `${last.task}-undo${once}`;
    this.keep();
    this.outbox.put({ key, do: "undo", of: last.of });
    this.waiting = key;
    this.say("Taking it back …");
    this.leaving.stays();
    this.drawAnswers();
    this.send();
  }

  early(early = this.echoes.early()) {
    if (early) this.say(this.said, true);
    return early;
  }

  openReason() {
    this.parts.reason.classList.add("pf-open");
    this.parts.reason.focus();
  }

  showFeedback(feedback) {
    this.feedback = true;
    this.typing.interrupt();
    drawFeedback(this.parts, feedback, () => this.goOn());
    this.echoes.shown();
    this.drawAnswers();
  }

  goOn() {
    if (this.early()) return;
    this.feedback = null;
    this.parts.feedback.hidden = true;
    this.item = null;
    this.next();
    this.say("");
  }

  // --- keeping and sending ---

  /** What was typed and marked so far; on leaving the page, also the time it took. */
  keep(leaving = false) {
    if (!this.item || !this.drafts || this.feedback) return;
    this.draft.reason = this.parts.reason.value;
    if (leaving) this.draft.spent = this.clock.spent();
    this.drafts.keep(taskOf(this.item.key), this.draft, leaving);
  }

  send() {
    if (!this.outbox || this.leaving.isUnderWay()) return;
    this.trigger({ entries: this.outbox.due(), at: Date.now() });
  }

  tick() {
    if (!this.outbox) return;
    const since = performance.now() - this.outbox.sentAt;
    const untold = this.outbox.entries().length;
    if (untold && since > RETRY_MS) this.send();
    const idle = !untold && (!this.item || this.data.refused) && !this.feedback;
    if (idle && since > LOOK_MS && document.visibilityState === "visible") this.send();
    this.drawState();
  }

  /** Another tab of the same person has settled a question: nobody answers it twice. */
  elsewhere(event) {
    if (!this.item || event.key !== `${this.corner?.prefix}done` || !event.newValue) return;
    if (JSON.parse(event.newValue).task !== taskOf(this.item.key) || this.waiting) return;
    if (this.parts.reason.value || this.draft.rewrite) return; // the server will say it
    this.supply = this.supply.filter((each) => taskOf(each.key) !== taskOf(this.item.key));
    this.next();
    this.say("You settled that one in another tab.");
    this.send();
  }
}
