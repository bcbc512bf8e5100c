// All that a page needs of Lever, without any library: ask for a choice, show it, report that it was shown and the click.

const config = new URLSearchParams(location.search);
const lever = config.get('lever') ?? 'http://localhost:8081';
const key = config.get('key') ?? ''; // a public key (lever key new --public); none where Lever asks for none

/** A visitor is a random id that this browser keeps. It says nothing about anybody. */
export function visitor() {
  const made = Array.from({ length: 3 }, () => Math.random().toString(36).slice(2)).join('');
  try {
    return (localStorage.visitor ??= made);
  } catch {
    return made; // this browser keeps nothing
  }
}

/** What to show this visitor, or nothing where Lever does not answer in time. It counts once it is reported as shown. */
export async function choose(experiment, subject, context = {}, timeoutMs = 300) {
  try {
    const answer = await fetch(`${lever}/v1/select`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ subject, context, experiments: [{ experiment, deferred: true }] }),
      signal: AbortSignal.timeout(Math.max(timeoutMs, 0)),
    });
    const [{ payload, arm, decision_id }] = (await answer.json()).decisions;
    return { value: payload, variant: arm, decision: decision_id };
  } catch {
    return {};
  }
}

/** Report a reward, or without a metric that the choice was shown. A beacon outlives the page; each counts once. */
export function report(decision, metric) {
  if (!decision) return;
  const events = [{ decision_id: decision, ...(metric ? { metric } : { type: 'exposure' }) }];
  navigator.sendBeacon(`${lever}/v1/events${key && `?key=${key}`}`, JSON.stringify({ events }));
}
