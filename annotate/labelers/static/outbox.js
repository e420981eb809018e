// What the labeler has done and the server has not acknowledged yet, and what they are typing: kept
// in the browser's storage, so that a reload, a lost connection or a restarted server costs nothing.

const MOST_DRAFTS = 60;
const MOST_SENT = 50;
/** After so many milliseconds without an answer from the server an act is sent again. */
export const RETRY_MS = 4000;

/** By prefix, what the browser's storage would not take: of every corner made on this page, however
 *  often the labeler goes to another of the app's pages and comes back. */
const memories = new Map();

/** The browser's storage under a labeler's own prefix; in memory where the browser forbids it. */
export class Corner {
  constructor(owner) {
    this.prefix = `prefloop/${owner}/`;
    if (!memories.has(this.prefix)) memories.set(this.prefix, new Map());
    this.memory = memories.get(this.prefix);
  }

  /** Whether what is called so outlives the page. */
  keeps(start) {
    return ![...this.memory.keys()].some((name) => name.startsWith(start));
  }

  get(name) {
    const kept = this.memory.get(name); // newer than what is stored: see `set`
    if (kept !== undefined) return JSON.parse(kept);
    try {
      const text = localStorage.getItem(this.prefix + name);
      if (text !== null) return JSON.parse(text);
    } catch { /* what is unreadable is not there */ }
    return null;
  }

  set(name, value) {
    const text = JSON.stringify(value); // as it is now, whatever becomes of it
    try {
      localStorage.setItem(this.prefix + name, text);
      this.memory.delete(name);
    } catch {
      this.memory.set(name, text);
    }
  }

  remove(name) {
    this.memory.delete(name);
    try {
      localStorage.removeItem(this.prefix + name);
    } catch { /* nothing there to remove */ }
  }

  names(start) {
    const found = new Set([...this.memory.keys()].filter((name) => name.startsWith(start)));
    try {
      for (let i = 0; i < localStorage.length; i += 1) {
        const name = localStorage.key(i);
        if (name.startsWith(this.prefix + start)) found.add(name.slice(this.prefix.length));
      }
    } catch { /* only what is in memory */ }
    return [...found].sort();
  }
}

/** A task's name, which stays the same when it is handed out again under another key. */
export const taskOf = (key) => key.split("-")[0];

/** Acts on their way to the server, in the order in which they were done; one item of storage
 *  each, so that two tabs of the same person do not overwrite each other's. */
export class Outbox {
  constructor(corner) {
    this.corner = corner;
    this.count = 0;
    this.mine = new Map(); // this tab's own acts, until it was told what became of them
    this.sentAt = 0;
    this.fresh = true; // until the server was heard for the first time
  }

  put(entry) {
    const at = Date.now();
    this.count += 1;
    const order = `${at}`.padStart(15, "0") + `${this.count}`.padStart(5, "0");
    const dated = { ...entry, at };
    this.mine.set(entry.key, dated);
    this.corner.set(`out/${order}/${entry.key}`, dated);
  }

  /** What is to be sent now: this tab's own acts, and those that another has left for a while (it
   *  may be closed); at first all of them. */
  due() {
    const due = this.entries().filter((entry) => this.fresh || this.mine.has(entry.key)
      || Date.now() - entry.at > RETRY_MS);
    this.sentAt = performance.now();
    return due.slice(0, MOST_SENT);
  }

  holds(key) {
    return this.entries().some((each) => each.key === key);
  }

  /** Also those of this tab's own that another has sent meanwhile: the server tells only who asks,
   *  and does no act twice. */
  entries() {
    const kept = this.corner.names("out/").map((name) => this.corner.get(name)).filter(Boolean);
    const keys = new Set(kept.map((entry) => entry.key));
    return [...[...this.mine.values()].filter((entry) => !keys.has(entry.key)), ...kept];
  }

  /** Out of the box, and what it was; another tab may have sent it too, and have been told first. */
  take(key) {
    const name = this.corner.names("out/").find((each) => each.endsWith(`/${key}`));
    const entry = (name ? this.corner.get(name) : null) ?? this.mine.get(key) ?? null;
    if (name) this.corner.remove(name);
    this.mine.delete(key);
    return entry;
  }

  /** How many acts nobody was told of yet. */
  get size() {
    return this.corner.names("out/").length;
  }

  /** Tasks that are answered or skipped here, and not taken back since. */
  settled() {
    const tasks = new Set();
    for (const entry of this.entries()) {
      if (entry.do === "undo") tasks.delete(taskOf(entry.key));
      else tasks.add(taskOf(entry.key));
    }
    return tasks;
  }
}

/** What was typed and marked on a question that is not answered yet, by task. Tabs of
 *  the same person share it: each writes what was changed in it, and not over what another has. */
export class Drafts {
  constructor(corner) {
    this.corner = corner;
    this.known = new Map(); // by task, what this tab has read or written last
    this.given = new Map(); // by task, what is there without a draft
  }

  /** What is there of a question that is shown now: a draft, or the answer that stands. */
  begin(task, before) {
    const given = draftOf(before);
    const draft = this.corner.get(`draft/${task}`) ?? given;
    this.known.set(task, lookOf(draft));
    this.given.set(task, lookOf(given));
    return draft;
  }

  /** Kept where it says something else than what is there without it; on `leaving` the page also
   *  the time it took. */
  keep(task, draft, leaving) {
    const look = lookOf(draft);
    if (look !== this.known.get(task)) {
      this.known.set(task, look);
      if (look === this.given.get(task)) this.drop(task);
      else this.put(task, draft);
    }
    if (!leaving) return;
    this.put(task, { ...draft, ...this.corner.get(`draft/${task}`), spent: draft.spent });
  }

  put(task, draft) {
    this.corner.set(`draft/${task}`, { ...draft, at: Date.now() });
  }

  drop(task) {
    this.corner.remove(`draft/${task}`);
  }

  /** Drafts of questions that never came back do not pile up. */
  tidy() {
    const names = this.corner.names("draft/");
    if (names.length <= MOST_DRAFTS) return;
    names.map((name) => [this.corner.get(name)?.at ?? 0, name]).sort((a, b) => a[0] - b[0])
      .slice(0, names.length - MOST_DRAFTS).forEach(([, name]) => this.corner.remove(name));
  }
}

/** What a draft says; flags that were taken back are none. */
const lookOf = ({ flags, scores, reason, rewrite, tiers }) => JSON.stringify(
  [Object.entries(flags).filter(([, chosen]) => chosen.length), scores, reason, rewrite, tiers]);

/** A draft to begin with: empty, or the answer that stands. */
function draftOf(before) {
  return { flags: { ...before?.flags }, scores: { ...before?.scores }, reason: before?.reason ?? "",
    rewrite: before?.rewrite ?? null, tiers: before?.tiers ?? [], spent: null };
}
