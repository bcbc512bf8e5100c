// All that a page needs of Lever, without any library: ask for a flag, show its value, report the click.

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

/** The flag for this visitor; `fallback` is its value when Lever does not answer within the time. */
export async function choose(flag, subject, fallback, context = {}, timeoutMs = 300) {
  try {
    const answer = await fetch(`${lever}/ofrep/v1/evaluate/flags/${flag}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ context: { targetingKey: subject, ...context } }),
      signal: AbortSignal.timeout(Math.max(timeoutMs, 0)),
    });
    const { value = fallback, variant, metadata } = await answer.json();
    return { value, variant, decision: metadata?.decisionId };
  } catch {
    return { value: fallback };
  }
}

/** Report an event. A beacon is sent even when the page is left by the very click; it counts once. */
export function report(decision, metric) {
  if (!decision) return;
  const events = [{ decision_id: decision, metric }];
  navigator.sendBeacon(`${lever}/v1/events${key && `?key=${key}`}`, JSON.stringify({ events }));
}
