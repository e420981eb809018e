// Which key was meant, wherever it lies on the keyboard, whether it was meant for us, and what it
// does.

import { isTyping } from "./typing.js";

/** One letter that is not Latin, or a vowel sign. */
const OTHER_ALPHABET = /^(?!\p{Script=Latin})[\p{L}\p{M}]$/u;

/** "1" to "9" and "0" also where they need Shift (as on French keyboards); letters in lower case.
 *  Where a keyboard writes another alphabet (Cyrillic, Greek, Arabic), a key is the Latin letter
 *  that is printed on it, too. A numeric keypad is taken by its word: without Num Lock its keys are
 *  arrows and the like. */
function keyOf(event) {
  if (/^[0-9]$/.test(event.key)) return event.key;
  const digit = /^Digit([0-9])$/.exec(event.code);
  if (digit && !event.shiftKey) return digit[1];
  if (event.key === "?") return "?";
  if (event.key === "-" || event.key === "−") return "-";
  if (event.key === "+" || event.key === "=") return event.key;
  if (event.shiftKey && event.key.length === 1) return "";
  const letter = /^Key([A-Z])$/.exec(event.code);
  if (letter && OTHER_ALPHABET.test(event.key)) return letter[1].toLowerCase();
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

/** Whether the key belongs to the browser, an input method or a dialog. */
function isForeign(event) {
  return event.ctrlKey || event.altKey || event.metaKey || event.isComposing
    || document.querySelector("[role=dialog]") !== null;
}

/** What a key does on the desk: at once, or nothing where it is not ours. */
export function pressKey(desk, event) {
  if (isForeign(event) || !desk.parts.root.isConnected) return;
  const target = event.composedPath()[0];
  if (desk.keyList.isOpen) { // over all else
    if (event.key !== "Escape" && event.key !== "?") return;
    desk.keyList.toggle();
    claim(event);
    return;
  }
  if (desk.typing.takes(event, target)) {
    desk.early(true);
    claim(event);
    return;
  }
  if (event.key === "Escape") {
    if (escape(desk, target)) claim(event);
    return;
  }
  if (isTyping(target) || !desk.ask) return;
  const act = actionOf(desk, keyOf(event), target);
  if (!act) return;
  claim(event);
  if (!event.repeat) act();
}

function actionOf(desk, key, target) {
  if (desk.feedback && key !== "?") {
    return pressesNothing(key, target) ? () => desk.goOn() : null;
  }
  const { ask, item, ranking, reading } = desk;
  const tools = { g: () => ask.guidelines ? reading.toggleGuidelines()
      : desk.say("There are no guidelines."),
    d: item && (() => reading.toggleDifferences()), h: () => reading.toggleHistory(),
    "-": () => reading.resize(-1), "+": () => reading.resize(1), u: () => desk.undo(),
    "?": () => desk.keyList.toggle(ask.keys) };
  if (key in tools) return tools[key] || null;
  if (!item) return null;
  const digit = /^[0-9]$/.test(key) ? Number(key) : null;
  if (desk.mode.name === "skip") {
    const reason = digit ? ask.skip_reasons[digit - 1] : null;
    return digit === null ? null : () => reason && desk.skip(reason);
  }
  if (desk.mode.name && digit !== null) return () => desk.mode.pressNumber(digit);
  const more = { s: () => desk.mode.openSkip(),
    f: ask.flags.length && (() => desk.mode.nextGroup("flags")),
    p: ask.scores.length && (() => desk.mode.nextGroup("scores")),
    r: ask.reason && (() => desk.openReason()),
    w: ask.rewrite && (() => desk.rewriting.toggle()) };
  if (key in more) return more[key] || null;
  if (item.responses.length === 2) {
    const choice = desk.row.choices.get(key);
    return choice ? () => desk.answer({ choice: choice.name }) : null;
  }
  if (digit) return digit <= ranking.count ? () => ranking.place(digit - 1) : null;
  const ranks = { 0: ask.both_bad && (() => desk.answer({ choice: "all-bad" })),
    "=": ask.tie && (() => ranking.tie()), x: () => ranking.clear() };
  if (key in ranks) return ranks[key] || null;
  return pressesNothing(key, target) ? () => desk.saveRanking() : null;
}

/** Enter that does not press what has the focus: chips and places are not pressed by it. */
function pressesNothing(key, target) {
  if (key !== "Enter") return false;
  const pressed = target.closest?.("button, a, summary, [role=button]");
  return !pressed || pressed.matches(".pf-chip, .pf-place, .pf-save, .pf-go-on");
}

/** Out of what is open, the innermost first; whether there was anything. */
function escape(desk, target) {
  if (isTyping(target)) {
    target.blur();
    desk.parts.reason.classList.remove("pf-open");
    desk.parts.area.focus({ preventScroll: true });
    return true;
  }
  if (desk.mode.name) return desk.mode.close();
  if (desk.rewriting.isOpen) return desk.rewriting.close();
  if (desk.notices.refusals.length) {
    desk.notices.close();
    return true;
  }
  if (window.innerWidth < 900) desk.reading.toggleGuidelines(false);
  return false;
}

function claim(event) {
  event.preventDefault();
  event.stopPropagation();
}
