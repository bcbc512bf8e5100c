// Events on their way to POST /v1/events: in batches, and again where the server was away. Sending one twice is
// harmless: every event has an id.

const BATCH = 500;
const MOST = 10000;
const SLOWEST_MS = 5000;

export class Outbox {
  /** `post(events)` resolves to the server's results, or null where the whole batch may be sent again. */
  constructor(post, everyMs = 200) {
    this.post = post;
    this.everyMs = everyMs;
    this.waiting = [];
    this.waitMs = everyMs;
    this.timer = undefined;
    this.sending = undefined;
  }

  put(event) {
    this.waiting.push(event);
    if (this.waiting.length > MOST) this.waiting.shift();
    this.schedule();
  }

  /** Everything that waits, for someone who sends it in another way. */
  take() {
    return this.waiting.splice(0);
  }

  /** Resolves once everything put so far was sent, or could not be sent now. */
  async flush() {
    clearTimeout(this.timer);
    this.timer = undefined;
    while (this.sending) await this.sending;
    while (this.waiting.length) {
      const before = this.waiting.length;
      this.sending = this.send();
      await this.sending;
      if (this.waiting.length >= before) break;
    }
  }

  schedule() {
    if (this.timer !== undefined) return;
    this.timer = setTimeout(() => this.flush(), this.waitMs);
    this.timer.unref?.();
  }

  async send() {
    const events = this.waiting.splice(0, BATCH);
    let again = events;
    try {
      const results = await this.post(events);
      if (results) again = events.filter((_, i) => ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'].includes(results[i]?.error?.code));
    } catch {
      // The network: again.
    } finally {
      this.waiting.unshift(...again);
      this.waitMs = again.length ? Math.min(this.waitMs * 2, SLOWEST_MS) : this.everyMs;
      this.sending = undefined;
    }
    if (this.waiting.length) this.schedule();
  }
}

/** A POST of events; null where it may be sent again as it is. Throws for what never will be taken. */
export async function postEvents(url, headers, events, options = {}) {
  const body = JSON.stringify({ events });
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body, ...options });
  if (answer.status === 429) return null;
  const told = await answer.json();
  if (told.results) return told.results;
  return answer.status === 503 ? null : events.map(() => told);
}

// Unique among the events of one decision is enough; crypto.randomUUID is not there on pages without TLS.
const unique = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;

export function tracked(decisionId, metric, details) {
  const event = { decision_id: decisionId, metric, event_id: unique() };
  if (details?.value !== undefined) event.value = details.value;
  return event;
}
