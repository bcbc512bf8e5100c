// A provider of OpenFeature for browsers: the stock OFREP web provider, exposures, and `track`.
//
//   await OpenFeature.setContext({ targetingKey: visitorId });
//   await OpenFeature.setProviderAndWait(new LeverProvider({ baseUrl: 'https://lever.example', key: 'lever_…public…' }));
//   const hero = OpenFeature.getClient().getObjectValue('homepage-hero', { headline: 'Welcome' });
//   OpenFeature.getClient().track('click');
//
// The stock provider asks for all flags at once; what a page then reads is what it shows. So a decision is reported as
// exposed when its flag is first read. Events leave in batches, and by a beacon when the page goes away. Decisions are
// kept for the pages to come, so that what is bought there counts.

import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { within } from './deadline.js';
import { Decisions } from './decisions.js';
import { Outbox, postEvents, tracked, warn } from './outbox.js';
import { retrying } from './retry.js';

const BEACON = 100; // events; a browser keeps 64 kB for beacons

export class LeverProvider extends OFREPWebProvider {
  /**
   * `remember`: 'session' (this tab), 'local' (this browser) or 'none'. With `consent: false` nothing is kept and no
   * event is sent, and choices are not counted, until `setConsent(true)`. `timeoutMs`: what takes longer is not waited for.
   */
  constructor(
    {
      baseUrl, key, headers = [], cacheMode = 'network-first', timeoutMs = 300, fetchImplementation, consent = true,
      remember = 'session', ...options
    },
    logger,
  ) {
    const all = key ? [...headers, ['Authorization', `Bearer ${key}`]] : headers;
    const asks = { baseUrl, headers: all, fetchImplementation: within(timeoutMs, retrying(fetchImplementation)) };
    super({ ...asks, cacheMode: consent ? cacheMode : 'disabled', timeoutMs, ...options }, logger);
    this.metadata = { name: 'Lever' };
    this.eventsUrl = `${baseUrl.replace(/\/+$/, '')}/v1/events`;
    this.key = key;
    this.consent = consent;
    this.remembering = remember;
    this.decisions = new Decisions(consent ? storageOf(remember) : undefined, `lever-decisions:${baseUrl}`);
    this.unmatched = 0; // events that were sent for nothing, as no decision is known
    this.strange = new Set();
    const send = (events) => postEvents(this.eventsUrl, Object.fromEntries(all), events, { keepalive: true });
    this.outbox = new Outbox(send, { most: 10000 });
    this.hooks = [{ after: (_, details) => this.expose(details) }];
    this.leave = () => document.visibilityState === 'hidden' && this.beacon();
  }

  async initialize(context, domain) {
    if (typeof document !== 'undefined') document.addEventListener('visibilitychange', this.leave);
    this.given = context;
    this.decisions.of(context?.targetingKey);
    return super.initialize(this.asked(context), domain);
  }

  async onContextChange(before, after) {
    this.given = after;
    // The stock provider goes on showing one visitor's flags to the next where the server does not answer.
    if (before?.targetingKey !== after?.targetingKey) this._flagCache = {};
    this.decisions.of(after?.targetingKey);
    return super.onContextChange(before, this.asked(after));
  }

  /** Somebody said yes, or takes it back. Resolves once the flags are those of the new state. */
  async setConsent(consent) {
    if (consent === this.consent) return;
    this.consent = consent;
    this.decisions.keep(consent ? storageOf(this.remembering) : undefined);
    if (!consent) this.decisions.flags = {};
    if (this.given) await super.onContextChange(this.given, this.asked(this.given));
  }

  asked(context) {
    return this.consent ? context : { ...context, uncounted: true };
  }

  expose({ flagKey, flagMetadata }) {
    const decision = flagMetadata?.decisionId;
    if (!decision || !this.consent || this.decisions.get(flagKey) === decision) return;
    this.decisions.set(flagKey, decision, flagMetadata.windowMs);
    if (flagMetadata.deferred) this.outbox.put({ decision_id: decision, type: 'exposure' });
  }

  track(name, _context, details) {
    if (!this.consent) return;
    const decisions = details?.decisionId ? [details.decisionId] : this.decisions.ids();
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
    if (this.strange.has(name)) return;
    this.strange.add(name);
    warn(`track(${JSON.stringify(name)}): no decision is known on this page, so nothing is sent`);
  }

  /**
   * Hand what waits to the browser, which sends it after the page is gone. A beacon has no headers: key in the URL.
   * Nobody learns whether a beacon arrived, so what waits goes on waiting, and is sent again if the page lives on.
   */
  beacon() {
    const url = this.key ? `${this.eventsUrl}?key=${encodeURIComponent(this.key)}` : this.eventsUrl;
    const { waiting } = this.outbox;
    for (let at = 0; at < waiting.length; at += BEACON) {
      if (!navigator.sendBeacon(url, JSON.stringify({ events: waiting.slice(at, at + BEACON) }))) return;
    }
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
    if (typeof document !== 'undefined') document.removeEventListener('visibilitychange', this.leave);
    await this.outbox.close();
    return super.onClose();
  }
}

/** A page may be forbidden its storage, and then even naming it throws. */
function storageOf(remember) {
  try {
    if (remember === 'local') return globalThis.localStorage;
    return remember === 'session' ? globalThis.sessionStorage : undefined;
  } catch {
    return undefined;
  }
}
