// What the labeler has done and the server has not acknowledged yet, and what they are typing: kept
// in the browser's storage, so that a reload, a lost connection or a restarted server costs nothing.

const MOST_DRAFTS = 60;

/** The browser's storage under a labeler's own prefix; in memory where the browser forbids it. */
export class Corner {
  constructor(owner) {
    this.prefix = `prefloop/${owner}/`;
    this.memory = new Map();
    this.kept = true;
  }

  get(name) {
    try {
      const text = localStorage.getItem(this.prefix + name);
      if (text !== null) return JSON.parse(text);
    } catch { /* what is unreadable is not there */ }
    return this.memory.get(name) ?? null;
  }

  set(name, value) {
    try {
      localStorage.setItem(this.prefix + name, JSON.stringify(value));
      this.memory.delete(name);
    } catch {
      this.memory.set(name, value);
      this.kept = false;
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
  }

  put(entry) {
    this.count += 1;
    const order = `${Date.now()}`.padStart(15, "0") + `${this.count}`.padStart(5, "0");
    this.corner.set(`out/${order}/${entry.key}`, entry);
  }

  entries() {
    return this.corner.names("out/").map((name) => this.corner.get(name)).filter(Boolean);
  }

  take(key) {
    const name = this.corner.names("out/").find((each) => each.endsWith(`/${key}`));
    const entry = name ? this.corner.get(name) : null;
    if (name) this.corner.remove(name);
    return entry;
  }

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

/** What was typed and marked on a question that is not answered yet, by task. */
export class Drafts {
  constructor(corner) {
    this.corner = corner;
  }

  get(task) {
    return this.corner.get(`draft/${task}`);
  }

  keep(task, draft) {
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
