// A provider of OpenFeature for Node: the stock OFREP provider, and `track`.
//
//   await OpenFeature.setProviderAndWait(new LeverProvider({ baseUrl: 'http://localhost:8081' }));
//   const client = OpenFeature.getClient();
//   const hero = await client.getObjectValue('homepage-hero', { headline: 'Welcome' }, { targetingKey: 'visitor-42' });
//   client.track('click', { targetingKey: 'visitor-42' });
//
// An event counts for the subject's last decision of every flag whose experiment has a metric of that name; or for one
// decision, if its details carry a `decisionId` (it is in the evaluation's flag metadata). Another process knows nothing
// of a subject's decisions: hand them over in a cookie, by `decisionsOf` and `restore`.

import { OFREPProvider } from '@openfeature/ofrep-provider';
import { within } from './deadline.js';
import { Outbox, postEvents, tracked, warn } from './outbox.js';
import { retrying } from './retry.js';

const SUBJECTS = 10000;

export class LeverProvider extends OFREPProvider {
  /** An answer that takes longer than `timeoutMs` is not waited for: the default is shown. */
  constructor({ baseUrl, key, headers = [], timeoutMs = 300, fetchImplementation, ...options }) {
    const all = key ? [...headers, ['Authorization', `Bearer ${key}`]] : headers;
    super({ baseUrl, headers: all, fetchImplementation: within(timeoutMs, retrying(fetchImplementation)), ...options });
    this.metadata = { name: 'Lever' };
    this.decisions = new Map(); // by subject, the latest last: decision ids by flag
    this.unmatched = 0; // events that were sent for nothing, as the subject has no known decision
    this.strange = new Set();
    const url = `${baseUrl.replace(/\/+$/, '')}/v1/events`;
    this.outbox = new Outbox((events) => postEvents(url, Object.fromEntries(all), events));
    this.hooks = [{ after: (context, details) => this.remember(context.context.targetingKey, details) }];
  }

  remember(subject, { flagKey, flagMetadata }) {
    if (!subject || !flagMetadata?.decisionId) return;
    const flags = this.decisions.get(subject) ?? new Map();
    flags.set(flagKey, flagMetadata.decisionId);
    this.decisions.delete(subject);
    this.decisions.set(subject, flags);
    if (this.decisions.size > SUBJECTS) this.decisions.delete(this.decisions.keys().next().value);
  }

  /** Decision ids by flag that the subject was shown here: for a cookie, so that another process may track. */
  decisionsOf(subject) {
    return Object.fromEntries(this.decisions.get(subject) ?? []);
  }

  /** What `decisionsOf` handed out elsewhere; what is newer here stays. */
  restore(subject, decisions) {
    for (const [flagKey, decisionId] of Object.entries(decisions ?? {})) {
      if (typeof decisionId !== 'string' || this.decisions.get(subject)?.has(flagKey)) continue;
      this.remember(subject, { flagKey, flagMetadata: { decisionId } });
    }
  }

  track(name, context, details) {
    const flags = this.decisions.get(context?.targetingKey) ?? new Map();
    const decisions = details?.decisionId ? [details.decisionId] : [...flags.values()];
    let events;
    try {
      events = decisions.map((decision) => tracked(decision, name, details));
    } catch (error) {
      this.outbox.refuse(error);
    }
    if (!events.length) this.unknown(name);
    for (const event of events) this.outbox.put(event);
  }

  unknown(name) {
    this.unmatched += 1;
    if (this.strange.has(name) || this.strange.size >= SUBJECTS) return;
    this.strange.add(name);
    warn(`track(${JSON.stringify(name)}): no decision of this subject is known here, so nothing is sent`);
  }

  /** Events that will never count: nobody took them in time; the server, or a check, refused them for good. */
  get dropped() {
    return this.outbox.dropped;
  }

  get refused() {
    return this.outbox.refused;
  }

  /** Resolves to whether the events so far are with the server, and none was lost since the last flush. */
  flush(timeoutMs) {
    return this.outbox.flush(timeoutMs);
  }

  async onClose() {
    await this.outbox.close();
  }
}
