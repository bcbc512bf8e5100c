/** A fetch that ends after so many milliseconds, its body included; the stock providers wait longer, or for ever. */
export function within(timeoutMs, fetchImplementation = fetch) {
  return async (request, options = {}) => {
    const given = options.signal;
    const ending = new AbortController();
    const end = () => ending.abort(given?.reason);
    if (given?.aborted) end();
    given?.addEventListener('abort', end);
    const timer = setTimeout(() => ending.abort(new DOMException(`no answer in ${timeoutMs} ms`, 'TimeoutError')), timeoutMs);
    try {
      const answer = await fetchImplementation(request, { ...options, signal: ending.signal });
      const body = [204, 205, 304].includes(answer.status) ? null : await answer.text();
      return new Response(body, { status: answer.status, statusText: answer.statusText, headers: answer.headers });
    } finally {
      clearTimeout(timer);
      given?.removeEventListener('abort', end);
    }
  };
}
