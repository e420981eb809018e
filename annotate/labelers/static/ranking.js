// Three to nine responses into ordered tiers, best first: by dragging their letters, or by keys
// alone. A tier of several is a tie. Positions are those on the page, 0 for A.

import { make } from "./inert.js";

const DRAG_PIXELS = 5;

export class Ranking {
  /** `changed(words)` is called with what to say after every change. */
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.letGo = () => {}; // of what is being dragged
    this.reset(0, [], true);
    root.addEventListener("pointerdown", (event) => this.grab(event));
    root.addEventListener("keydown", (event) => this.arrow(event));
  }

  /** Begin with so many responses, of which some are placed already. Where ties are asked for no
   *  more, those of the first tie and all below it are to be placed again: no order is made up. */
  reset(count, tiers, ties, letters = "") {
    this.letGo(); // it is no response of what comes now
    this.count = count;
    this.ties = ties;
    this.letters = letters;
    const tied = ties ? -1 : tiers.findIndex((tier) => tier.length > 1);
    this.tiers = tiers.slice(0, tied < 0 ? tiers.length : tied).map((tier) => [...tier]);
    this.draw();
  }

  get complete() {
    return this.count > 0 && this.tiers.flat().length === this.count;
  }

  get missing() {
    return this.count - this.tiers.flat().length;
  }

  /** The one best response; null while there is none. */
  get best() {
    return this.tiers.length && this.tiers[0].length === 1 ? this.tiers[0][0] : null;
  }

  rankOf(position) {
    const tier = this.tiers.findIndex((each) => each.includes(position));
    return tier < 0 ? null : tier + 1;
  }

  /** Below all that are placed; or out again, if it is placed. */
  place(position) {
    if (this.rankOf(position)) this.take(position);
    else this.tiers.push([position]);
    this.update(position);
  }

  /** The two lowest tiers become one. */
  tie() {
    if (!this.ties || this.tiers.length < 2) return;
    const last = this.tiers.pop();
    this.tiers.at(-1).push(...last);
    this.update(last[0]);
  }

  clear() {
    this.tiers = [];
    this.update(null);
  }

  /** One step up (-1) or down (1): into the next tier, or out of a shared one. */
  move(position, step) {
    const at = this.tiers.findIndex((tier) => tier.includes(position));
    if (at < 0) {
      this.tiers.push([position]);
    } else if (this.tiers[at].length > 1) {
      this.tiers[at] = this.tiers[at].filter((each) => each !== position);
      this.tiers.splice(step < 0 ? at : at + 1, 0, [position]);
    } else {
      const to = at + step;
      if (to < 0 || to >= this.tiers.length) return;
      if (this.ties) {
        this.tiers[to].push(position);
        this.tiers.splice(at, 1);
      } else {
        [this.tiers[at], this.tiers[to]] = [this.tiers[to], this.tiers[at]];
      }
    }
    this.update(position);
  }

  take(position) {
    this.tiers = this.tiers.map((tier) => tier.filter((each) => each !== position))
      .filter((tier) => tier.length);
  }

  update(position) {
    const held = document.activeElement?.closest?.(".pf-chip")?.dataset.position;
    this.draw();
    if (held !== undefined) this.root.querySelector(`.pf-chip[data-position="${held}"]`)?.focus();
    this.changed(position === null ? "Ranks cleared." : this.words(position));
  }

  words(position) {
    const rank = this.rankOf(position);
    const letter = this.letters[position];
    if (!rank) return `${letter} is not ranked.`;
    const others = this.tiers[rank - 1].filter((each) => each !== position)
      .map((each) => this.letters[each]);
    return `${letter} is ${ordinal(rank)}${others.length ? `, tied with ${others.join(", ")}` : ""}.`
      + (this.missing ? ` ${this.missing} to go.` : "");
  }

  draw() {
    const list = make("ol", { class: "pf-tiers", "aria-label": "Ranking, best first" });
    this.tiers.forEach((tier, index) => {
      list.append(this.gap(index), make("li", { class: "pf-tier", "data-tier": index },
        make("span", { class: "pf-rank" }, ordinal(index + 1)),
        ...[...tier].sort((a, b) => a - b).map((position) => this.chip(position))));
    });
    list.append(this.gap(this.tiers.length));
    const open = [...this.letters].slice(0, this.count).map((_, position) => position)
      .filter((position) => !this.rankOf(position));
    const pool = make("div", { class: "pf-pool", "data-pool": true, role: "group",
      "aria-label": "Not ranked yet" },
      ...(open.length ? open.map((position) => this.chip(position))
        : [make("span", { class: "pf-quiet" }, "all ranked")]));
    this.root.replaceChildren(make("span", { class: "pf-quiet" }, "Best first"), list,
      make("div", { class: "pf-unranked" }, make("span", { class: "pf-quiet" }, "Not ranked"), pool));
  }

  gap(index) {
    return make("li", { class: "pf-gap", "data-gap": index, "aria-hidden": "true" });
  }

  chip(position) {
    const rank = this.rankOf(position);
    const place = rank ? `${ordinal(rank)} of ${this.tiers.length}` : "not ranked";
    return make("button", { type: "button", class: "pf-chip", "data-position": position,
      "aria-label": `Response ${this.letters[position]}, ${place}. Arrow keys move it` },
    this.letters[position]);
  }

  arrow(event) {
    const chip = event.target.closest(".pf-chip");
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!chip || !step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.move(Number(chip.dataset.position), step);
  }

  /** Dragging, by mouse, pen or finger. `handle` is a chip, or a response's letter. */
  grab(event, handle = event.target.closest(".pf-chip")) {
    if (!handle || event.button !== 0) return;
    this.letGo(); // one at a time
    const position = Number(handle.dataset.position);
    const from = { x: event.clientX, y: event.clientY };
    let ghost = null;
    const moved = (move) => {
      if (!ghost && Math.hypot(move.clientX - from.x, move.clientY - from.y) < DRAG_PIXELS) return;
      move.preventDefault();
      ghost ??= this.ghost(position);
      ghost.style.transform = `translate(${move.clientX}px, ${move.clientY}px)`;
      this.hover(targetAt(this.root, move));
    };
    const end = (up) => {
      this.letGo();
      if (up.type !== "pointerup") return;
      if (ghost) this.drop(position, targetAt(this.root, up));
      else if (this.root.contains(handle)) this.find(position);
    };
    this.letGo = () => {
      for (const name of ["pointermove", "pointerup", "pointercancel"]) {
        document.removeEventListener(name, name === "pointermove" ? moved : end);
      }
      ghost?.remove();
      this.hover(null);
      this.letGo = () => {};
    };
    document.addEventListener("pointermove", moved, { passive: false });
    document.addEventListener("pointerup", end);
    document.addEventListener("pointercancel", end);
  }

  /** A letter that is pressed and not dragged brings its response into view: it may be far down. */
  find(position) {
    this.root.closest(".pf-desk").querySelectorAll(".pf-response")[position]
      .scrollIntoView({ block: "start" });
  }

  ghost(position) {
    const ghost = make("div", { class: "pf-ghost", "aria-hidden": "true" }, this.letters[position]);
    this.root.append(ghost);
    return ghost;
  }

  hover(target) {
    for (const each of this.root.querySelectorAll(".pf-over")) each.classList.remove("pf-over");
    target?.classList.add("pf-over");
  }

  drop(position, target) {
    if (!target) return;
    const before = this.tiers.map((tier) => tier.join()).join("/");
    if (target.dataset.gap !== undefined) {
      const mark = [];
      this.tiers.splice(Number(target.dataset.gap), 0, mark);
      this.tiers = this.tiers.map((tier) => tier === mark ? tier
        : tier.filter((each) => each !== position)).filter((tier) => tier === mark || tier.length);
      mark.push(position);
    } else if (target.dataset.tier !== undefined) {
      const tier = this.tiers[Number(target.dataset.tier)];
      if (tier.includes(position)) return;
      if (this.ties) {
        this.take(position);
        (this.tiers.find((each) => each[0] === tier[0]) ?? tier).push(position);
      } else {
        const other = tier[0];
        this.take(position);
        this.tiers.splice(this.tiers.findIndex((each) => each[0] === other), 0, [position]);
      }
    } else {
      this.take(position);
    }
    if (before !== this.tiers.map((tier) => tier.join()).join("/")) this.update(position);
  }
}

/** Where a pointer would drop: a tier, the gap between two, or the pool. */
function targetAt(root, event) {
  const found = document.elementFromPoint(event.clientX, event.clientY)
    ?.closest("[data-gap], [data-tier], [data-pool]");
  return found && root.contains(found) ? found : null;
}

function ordinal(rank) {
  return `${rank}${["th", "st", "nd", "rd"][rank] ?? "th"}`;
}
