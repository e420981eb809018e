// What stands on the page while there is no question.

import { make } from "./inert.js";

/** Why there is none: what keeps the page from going on, else what the server says. */
export function whyNothing(notices, said) {
  if (notices.trouble) {
    return { title: "You cannot go on just now", text: "The reason is shown below." };
  }
  if (notices.late) {
    return { title: "No connection to the server", text: "What you did is kept in this browser "
      + "and sent by itself when the connection is back. The next question comes then." };
  }
  return said ?? { title: "One moment", text: "The next question is on its way." };
}

export function drawNothing(parts, { title, text, share = null }) {
  parts.note.hidden = false;
  parts.note.replaceChildren(make("h2", {}, title), ...(share === null ? [] : [
    make("div", { class: "pf-track" }, make("div", { style: `width: ${100 * share}%` }))]),
  make("p", {}, text));
  parts.conversation.replaceChildren();
  parts.responses.replaceChildren();
  for (const part of [parts.ranking, parts.practice, parts.hint]) part.hidden = true;
  parts.root.classList.add("pf-empty-desk");
}
