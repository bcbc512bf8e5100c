// Events on their way to POST /v1/events: in batches, and again where that can help. Sending one twice is harmless:
// every event has an id. What is lost is counted and said.

import { jittered } from './retry.js';

const BATCH = 500;
const SLOWEST_MS = 2000;
const SEND_MS = 5000;
const PASSING = ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'];
// Of an answer that is not Lever's: a proxy of the site says 500 and more while Lever is away, each kind its own.
const passing = (status) => status >= 500 || [408, 425, 429].includes(status);

export const TAKEN = 'taken';
export const AGAIN = 'again';

export const warn = (...words) => console.warn('lever:', ...words);

export class Outbox {
  /** `post(events)` resolves to a verdict for each: TAKEN, AGAIN, or an Error that says why it never will be taken. */
  constructor(post, { everyMs = 200, most = 100000 } = {}) {
    this.post = post;
    this.everyMs = everyMs;
    this.most = most;
    this.waiting = [];
    this.pauseMs = 0;
    this.dropped = 0; // gave way to newer ones, or were still here at the end
    this.refused = 0; // by the server, for good, or as they were wrong
    this.told = 0;
  }

  put(event) {
    if (this.closed) return this.drop(1, 'after close');
    this.waiting.push(event);
    this.shorten();
    this.schedule();
  }

  /** Resolves to whether everything put so far is with the server, and nothing was lost since the last flush. */
  async flush(timeoutMs = 5000) {
    const end = Date.now() + timeoutMs;
    clearTimeout(this.timer);
    this.timer = undefined;
    while (this.waiting.length || this.sending) {
      const left = end - Date.now();
      if (left <= 0) break;
      this.sending ??= this.send();
      await Promise.race([this.sending, pause(left)]);
      if (this.pauseMs && this.waiting.length && !this.sending) await pause(Math.min(jittered(this.pauseMs), end - Date.now()));
    }
    const done = !this.waiting.length && !this.sending;
    if (!done) this.schedule();
    const lost = this.dropped + this.refused - this.told;
    this.told += lost;
    return done && !lost;
  }

  /** Flush and end; what is left is dropped, counted and said. */
  async close(timeoutMs = 5000) {
    const done = await this.flush(timeoutMs);
    clearTimeout(this.timer);
    this.closed = true;
    const left = this.waiting.length + (this.underWay ?? 0);
    if (left) this.drop(left, 'left when it was closed');
    this.waiting = [];
    return done;
  }

  /** An event that is wrong: counted, said, and thrown at who made it (OpenFeature's client catches it). */
  refuse(error) {
    this.refused += 1;
    warn(`an event was refused: ${error.message}`);
    throw error;
  }

  schedule() {
    if (this.timer !== undefined || this.sending || this.closed) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.sending ??= this.send();
    }, jittered(this.pauseMs) || this.everyMs);
    this.timer.unref?.();
  }

  async send() {
    const events = this.waiting.splice(0, BATCH);
    this.underWay = events.length;
    let verdicts;
    try {
      verdicts = await this.post(events);
    } catch {
      verdicts = events.map(() => AGAIN); // the network
    }
    this.underWay = 0;
    this.sending = undefined;
    if (this.closed) return; // counted as left
    const again = events.filter((_, i) => verdicts[i] === AGAIN);
    const refused = verdicts.filter((verdict) => verdict !== AGAIN && verdict !== TAKEN);
    if (refused.length) {
      this.refused += refused.length;
      warn(`${refused.length} events were refused for good, the first: ${refused[0].message}`);
    }
    this.waiting = again.length ? [...again, ...this.waiting] : this.waiting;
    this.pauseMs = again.length ? Math.min(Math.max(this.pauseMs * 2, 50), SLOWEST_MS) : 0;
    this.shorten();
    if (!this.waiting.length) this.full = false;
    else this.schedule();
  }

  shorten() {
    const many = this.waiting.length - this.most;
    if (many <= 0) return;
    this.waiting.splice(0, many);
    this.dropped += many;
    if (!this.full) warn(`${this.most} events wait, as many as may: the oldest are dropped for now`);
    this.full = true;
  }

  drop(count, why) {
    this.dropped += count;
    warn(`${count} events dropped: ${why}`);
  }
}

function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, Math.max(ms, 0)).unref?.();
  });
}

/** A POST of events; a verdict for each. Throws where the network did not carry it. */
export async function postEvents(url, headers, events, options = {}) {
  const body = JSON.stringify({ events });
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
    keepalive: options.keepalive && body.length < 16384, // a browser keeps 64 kB alive, of all requests together
    signal: AbortSignal.timeout(SEND_MS),
  });
  const said = await answer.text(); // throws where it is cut
  let told = {};
  try {
    told = JSON.parse(said);
  } catch (error) {
    if (said.startsWith('{')) throw error; // cut, which Node's fetch does not always say; else a proxy's page
  }
  if (Array.isArray(told?.results) && told.results.length === events.length) return told.results.map(verdictOf);
  const code = told?.error?.code;
  const again = code ? PASSING.includes(code) : passing(answer.status);
  return events.map(() => (again ? AGAIN : new Error(told?.error?.message ?? `HTTP ${answer.status}`)));
}

function verdictOf({ error }) {
  if (!error) return TAKEN;
  if (PASSING.includes(error.code)) return AGAIN;
  // A flag without that metric: not its event.
  if (error.fields?.length === 1 && error.fields[0].field === 'metric') return TAKEN;
  return new Error(error.message ?? error.code);
}

// Unique among the events of one decision is enough; crypto.randomUUID is not there on pages without TLS.
const unique = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
const SPELLED = /^\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*$/i;

/** A reward; with `retract` in its details, the event `eventId` is taken back. Throws a TypeError that begins with the field's name: nothing wrong is ever queued. */
export function tracked(decisionId, metric, details) {
  const back = details?.retract === true;
  const nameless = details?.eventId === undefined || details.eventId === null;
  const event = { decision_id: text('decisionId', decisionId, 1024), metric: text('name', metric, 128) };
  if (!nameless) event.event_id = name('eventId', details.eventId);
  else if (!back) event.event_id = unique();
  if (back) event.retract = true;
  if (details?.value !== undefined && details.value !== null) event.value = number('value', details.value);
  return event;
}

function name(field, value) {
  return text(field, typeof value === 'bigint' || Number.isSafeInteger(value) ? String(value) : value, 128);
}

function text(field, value, most) {
  if (typeof value !== 'string' || value === '') throw new TypeError(`${field}: must be a text, not ${shown(value)}`);
  if (/\p{Surrogate}/u.test(value)) throw new TypeError(`${field}: holds half a character (a lone surrogate)`);
  if (new TextEncoder().encode(value).length > most) throw new TypeError(`${field}: is longer than ${most} bytes`);
  return value;
}

function number(field, value) {
  const spelled = typeof value === 'string' && SPELLED.test(value);
  if (!spelled && typeof value !== 'number' && typeof value !== 'bigint') {
    throw new TypeError(`${field}: ${shown(value)} is no number`);
  }
  if (!Number.isFinite(Number(value))) throw new TypeError(`${field}: ${shown(value)} is not finite`);
  return Number(value);
}

const shown = (value) => (typeof value === 'string' ? JSON.stringify(value) : String(value));
