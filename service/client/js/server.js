// A provider of OpenFeature for Node: the stock OFREP provider, and `track`.
//
//   await OpenFeature.setProviderAndWait(new LeverProvider({ baseUrl: 'http://localhost:8081' }));
//   const client = OpenFeature.getClient();
//   const hero = await client.getObjectValue('homepage-hero', { headline: 'Welcome' }, { targetingKey: 'visitor-42' });
//   client.track('click', { targetingKey: 'visitor-42' });
//
// An event counts for the subject's last decision of every flag whose experiment has a metric of that name; or for one
// decision, if its details carry a `decisionId` (it is in the evaluation's flag metadata).

import { OFREPProvider } from '@openfeature/ofrep-provider';
import { Outbox, postEvents, tracked } from './outbox.js';

const SUBJECTS = 10000;

export class LeverProvider extends OFREPProvider {
  constructor({ baseUrl, key, headers = [], ...options }) {
    const all = key ? [...headers, ['Authorization', `Bearer ${key}`]] : headers;
    super({ baseUrl, headers: all, ...options });
    this.metadata = { name: 'Lever' };
    this.decisions = new Map(); // by subject, the latest last: decision ids by flag
    this.outbox = new Outbox((events) => postEvents(`${baseUrl}/v1/events`, Object.fromEntries(all), events));
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

  track(name, context, details) {
    const flags = this.decisions.get(context?.targetingKey) ?? new Map();
    const decisions = details?.decisionId ? [details.decisionId] : [...flags.values()];
    for (const decision of decisions) this.outbox.put(tracked(decision, name, details));
  }

  /** Resolves once the events so far are with the server. */
  flush() {
    return this.outbox.flush();
  }

  async onClose() {
    await this.flush();
  }
}
