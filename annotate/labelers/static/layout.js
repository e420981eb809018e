// The parts of the page that stay while questions come and go, so that nothing jumps.

import { inert, make } from "./inert.js";

/** A button with its key on it; the key is no part of its name, but is announced as its shortcut. */
export function button(label, key, act, attributes = {}) {
  const element = make("button", { type: "button", class: "pf-button",
    "aria-keyshortcuts": key || null, ...attributes },
  ...(typeof label === "string" ? [make("span", {}, label)] : [label]),
  key ? make("kbd", { "aria-hidden": "true" }, key) : null);
  element.addEventListener("click", (event) => {
    event.preventDefault();
    act(event);
  });
  return element;
}

/** Whether there are no keys to speak of. */
export const onPhone = () => matchMedia("(hover: none) and (pointer: coarse)").matches;

/** The page's skeleton; `on` names what each tool does. */
export function skeleton(on) {
  const parts = {
    round: make("span"),
    track: make("div", { class: "pf-track" }, make("div", {})),
    count: make("span"),
    practice: make("span", { class: "pf-tag", hidden: true }, "Practice"),
    guide: button("Guidelines", "G", on.guidelines,
      { "aria-expanded": "false", "aria-controls": "pf-guidelines" }),
    differ: button("Differences", "D", on.differences,
      { "aria-pressed": "false", class: "pf-button pf-differ" }),
    // Whoever speaks to the page says what is written on a button: a name begins with that.
    smaller: button("A", "−", on.smaller, { "aria-label": "A: smaller text", class: "pf-button pf-sm" }),
    larger: button("A", "+", on.larger, { "aria-label": "A: larger text", class: "pf-button pf-lg" }),
    openKeys: button("Keys", "?", on.keys, { "aria-haspopup": "dialog", class: "pf-button pf-by-keys" }),
    conversation: make("div", { role: "region", "aria-label": "Conversation" }),
    responses: make("div", { class: "pf-responses" }),
    note: make("div", { class: "pf-note", hidden: true }),
    hint: make("p", { class: "pf-hint", hidden: true }),
    guidelines: make("aside", { id: "pf-guidelines", class: "pf-guidelines", hidden: true,
      "aria-label": "Guidelines", tabindex: "0" }),
    alerts: make("div", { class: "pf-alerts", role: "alert" }),
    feedback: make("div", { class: "pf-feedback", hidden: true, role: "group",
      "aria-label": "Feedback" }),
    ranking: make("div", { class: "pf-ranking", hidden: true }),
    rewrite: make("div", { class: "pf-rewrite", hidden: true }),
    answers: make("div", { class: "pf-answers", role: "group", "aria-label": "Answer" }),
    reason: make("textarea", { class: "pf-reason", rows: "1", "aria-label": "Reason",
      "aria-describedby": "pf-typing", "aria-keyshortcuts": "R",
      placeholder: `Reason (optional)${onPhone() ? "" : " – press R to write"}` }),
    openReason: button("Reason", "R", on.reason, { class: "pf-button pf-narrow" }),
    flag: button("Flags", "F", on.flags, { class: "pf-button pf-by-keys" }),
    score: button("Scores", "P", on.scores, { class: "pf-button pf-by-keys" }),
    openRewrite: button("Rewrite", "W", on.rewrite, { "aria-expanded": "false" }),
    skip: button("Skip", "S", on.skip),
    undo: button("Undo", "U", on.undo),
    status: make("div", { class: "pf-status", role: "status" }),
    typing: make("div", { id: "pf-typing", class: "pf-typing" },
      make("span", {}, "You are typing. "), "Esc goes back to the keys."),
    unsaved: make("div", { class: "pf-unsaved", role: "status", hidden: true }),
  };
  parts.area = make("div", { class: "pf-area", tabindex: "0", role: "region",
    "aria-label": "Question" }, parts.note, parts.conversation, parts.responses);
  parts.extras = make("div", { class: "pf-extras" }, parts.reason, parts.openReason, parts.flag,
    parts.score, parts.openRewrite, parts.skip, parts.undo);
  parts.bar = make("section", { class: "pf-answer-bar", "aria-label": "Your answer" },
    parts.alerts, parts.feedback, parts.ranking, parts.rewrite, parts.answers, parts.extras,
    make("div", { class: "pf-said" }, parts.status, parts.typing, parts.unsaved));
  parts.root = make("div", { class: "pf-desk", "data-question": "0" },
    make("section", { class: "pf-top", "aria-label": "Progress and tools" },
      make("div", { class: "pf-progress" }, parts.round, parts.track, parts.count, parts.practice),
      make("div", { class: "pf-tools" }, parts.guide, parts.differ, parts.smaller, parts.larger,
        parts.openKeys)),
    make("div", { class: "pf-middle" }, parts.area, parts.guidelines, parts.hint), parts.bar);
  return parts;
}

/** What somebody new does with `count` responses, where no guidelines say it. */
export function drawHint(parts, unguided, count) {
  parts.hint.hidden = !unguided;
  if (unguided) parts.hint.textContent = `${count === 2 ? "Choose the response you find better."
    : "Put the responses in order, best first."} Your lead has written no guidelines.`;
}

/** How far the round is, and one's own part and day. */
export function drawProgress(parts, progress) {
  const share = progress?.wanted ? progress.given / progress.wanted : 0;
  parts.round.textContent = progress?.round === null || !progress ? "" : `Round ${progress.round}`;
  parts.track.hidden = !progress?.wanted;
  parts.track.firstChild.style.width = `${100 * share}%`;
  const counts = [];
  if (progress?.wanted) counts.push(`${say(progress.given)} of ${say(progress.wanted)} labels`);
  // While responses are being written nobody knows of how many.
  if (progress?.wanted === null) counts.push(`${say(progress.given)} ${progress.given === 1 ? "label" : "labels"} so far`);
  if (progress) counts.push(`you ${say(progress.mine)}`);
  if (progress) {
    counts.push(progress.goal ? `today ${say(progress.today)} of ${say(progress.goal)}`
      : `today ${say(progress.today)}`);
  }
  parts.count.textContent = counts.join(" · ");
}

/** What a practice answer was worth. */
export function drawFeedback(parts, { right, known, given, html }, goOn) {
  const on = button("Continue", "Enter", goOn, { class: "pf-button pf-go-on" });
  parts.feedback.hidden = false;
  parts.feedback.dataset.right = right;
  parts.feedback.replaceChildren(
    make("p", {}, make("strong", {}, right ? "Right. " : "Not quite. "),
      right ? `The answer is: ${known}.` : `You said: ${given}. The answer is: ${known}.`),
    make("div", { class: "pf-text", dir: "auto" }, inert(html)), on);
  on.focus({ preventScroll: true });
}

const say = (number) => number.toLocaleString("en");
