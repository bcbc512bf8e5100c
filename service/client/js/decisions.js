// The decisions that somebody was shown, by flag: what an event counts for. A decision lives as long as the longest
// window of its experiment's metrics (`windowMs` of the flag's metadata).

const DAY_MS = 86400000;

export class Decisions {
  /** `storage` (sessionStorage, localStorage, or none) keeps them for the next page, under this key. */
  constructor(storage, key) {
    this.storage = storage;
    this.key = key;
    this.subject = undefined;
    this.flags = {}; // [decision id, until] by flag
  }

  /** Whose they are. What was kept for somebody else is forgotten. */
  of(subject) {
    if (subject === this.subject) return;
    this.subject = subject;
    this.flags = {};
    try {
      const kept = JSON.parse(this.storage?.getItem(this.key) ?? 'null');
      if (kept?.subject === subject && subject) this.flags = kept.flags ?? {};
    } catch {
      // Storage that is switched off, or was written by somebody else.
    }
  }

  get(flag) {
    return this.live()[flag]?.[0];
  }

  /** Decision ids that are still good. */
  ids() {
    return Object.values(this.live()).map(([id]) => id);
  }

  set(flag, id, windowMs = DAY_MS) {
    this.flags = { ...this.live(), [flag]: [id, Date.now() + windowMs] };
    this.save();
  }

  /** Keep them from now on, or forget what is kept. */
  keep(storage) {
    if (!storage) this.erase();
    this.storage = storage;
    this.save();
  }

  erase() {
    try {
      this.storage?.removeItem(this.key);
    } catch {
      // It is switched off.
    }
  }

  save() {
    try {
      this.storage?.setItem(this.key, JSON.stringify({ subject: this.subject, flags: this.flags }));
    } catch {
      // Full, or switched off: they live as long as the page.
    }
  }

  live() {
    const now = Date.now();
    return Object.fromEntries(Object.entries(this.flags).filter(([, [, until]]) => until > now));
  }
}
