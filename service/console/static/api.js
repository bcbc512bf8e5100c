// The server's JSON. Asked again, it answers 304 where nothing changed; then the very same object comes back, so that nothing
// is drawn anew. The key lives as long as the tab and goes to this server alone.
const KEY = 'lever-key';
const kept = new Map();

export class Refused extends Error {
  constructor(status, told) {
    super(told.message ?? `status ${status}`);
    Object.assign(this, { status, code: told.code ?? '', reason: told.reason ?? '', fields: told.fields ?? [] });
  }
}

export const key = () => sessionStorage.getItem(KEY) ?? '';
export function useKey(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
  kept.clear();
}

export async function get(path) {
  const old = kept.get(path);
  const answer = await ask(path, { headers: old ? { 'if-none-match': old.etag } : {} });
  if (answer.status === 304) {
    kept.delete(path);
    kept.set(path, old);
    return old.json;
  }
  const json = await answer.json();
  kept.set(path, { etag: answer.headers.get('etag') ?? '', json });
  if (kept.size > 40) kept.delete(kept.keys().next().value);
  return json;
}

export async function post(path, body) {
  const answer = await ask(path, {
    method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' },
  });
  return answer.json();
}

export const of = (name, what = '') => `experiments/${encodeURIComponent(name)}${what ? `/${what}` : ''}`;

async function ask(path, options) {
  const headers = { ...options.headers, ...(key() ? { authorization: `Bearer ${key()}` } : {}) };
  const signal = AbortSignal.timeout(15000);
  const answer = await fetch(`console/api/${path}`, { ...options, headers, signal, cache: 'no-store', credentials: 'omit' });
  if (answer.ok || answer.status === 304) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.error ?? {});
}
