// A provider of OpenFeature for browsers: the stock OFREP web provider, exposures, and `track`.
//
//   await OpenFeature.setContext({ targetingKey: visitorId });
//   await OpenFeature.setProviderAndWait(new LeverProvider({ baseUrl: 'https://lever.example', key: 'lever_…public…' }));
//   const hero = OpenFeature.getClient().getObjectValue('homepage-hero', { headline: 'Welcome' });
//   OpenFeature.getClient().track('click');
//
// The stock provider asks for all flags at once; what a page then reads is what it shows. So a decision is reported as
// exposed when its flag is first read. Events leave in batches, and by a beacon when the page goes away.

import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { Outbox, postEvents, tracked } from './outbox.js';

export class LeverProvider extends OFREPWebProvider {
  constructor({ baseUrl, key, headers = [], cacheMode = 'network-first', ...options }, logger) {
    const all = key ? [...headers, ['Authorization', `Bearer ${key}`]] : headers;
    super({ baseUrl, headers: all, cacheMode, ...options }, logger);
    this.metadata = { name: 'Lever' };
    this.eventsUrl = `${baseUrl}/v1/events`;
    this.key = key;
    this.shown = new Map(); // decision id by flag: what this page shows
    const send = (events) => postEvents(this.eventsUrl, Object.fromEntries(all), events, { keepalive: events.length < 100 });
    this.outbox = new Outbox(send);
    this.hooks = [{ after: (_, details) => this.expose(details) }];
    this.leave = () => document.visibilityState === 'hidden' && this.beacon();
  }

  async initialize(context, domain) {
    if (typeof document !== 'undefined') document.addEventListener('visibilitychange', this.leave);
    return super.initialize(context, domain);
  }

  expose({ flagKey, flagMetadata }) {
    const decision = flagMetadata?.decisionId;
    if (!decision || this.shown.get(flagKey) === decision) return;
    this.shown.set(flagKey, decision);
    if (flagMetadata.deferred) this.outbox.put({ decision_id: decision, type: 'exposure' });
  }

  track(name, _context, details) {
    const decisions = details?.decisionId ? [details.decisionId] : [...this.shown.values()];
    for (const decision of decisions) this.outbox.put(tracked(decision, name, details));
  }

  /** Hand what waits to the browser, which sends it after the page is gone. A beacon has no headers: key in the URL. */
  beacon() {
    const events = this.outbox.take();
    if (!events.length) return;
    const url = this.key ? `${this.eventsUrl}?key=${encodeURIComponent(this.key)}` : this.eventsUrl;
    if (!navigator.sendBeacon(url, JSON.stringify({ events }))) events.forEach((event) => this.outbox.put(event));
  }

  /** Resolves once the events so far are with the server. */
  flush() {
    return this.outbox.flush();
  }

  async onClose() {
    if (typeof document !== 'undefined') document.removeEventListener('visibilitychange', this.leave);
    await this.flush();
    return super.onClose();
  }
}
