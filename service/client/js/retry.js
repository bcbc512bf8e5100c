// What was refused for load, or did not get through, is asked once more: twice at most, after a random while. Not while much of
// it fails: each failure takes a token and each answer gives back a tenth, and with half of them gone nothing is retried.
// The same as lever_client/retry.json says to gRPC.

const RETRIES = 2;
const FIRST_MS = 20;
const LONGEST_MS = 200;
const TOKENS = 10;
const BACK = 0.1;
const PASSING = [429, 503];

/** A fetch that retries, for requests that may be sent twice. An aborted one is not sent again. */
export function retrying(fetchImplementation = fetch) {
  let tokens = TOKENS;
  return async (request, options = {}) => {
    for (let retry = 0; ; retry += 1) {
      let answer;
      let failure;
      try {
        answer = await fetchImplementation(request instanceof Request ? request.clone() : request, options);
      } catch (error) {
        failure = error; // the network
      }
      const passing = failure || PASSING.includes(answer.status);
      tokens = passing ? Math.max(tokens - 1, 0) : Math.min(tokens + BACK, TOKENS);
      const last = retry === RETRIES || tokens <= TOKENS / 2 || options.signal?.aborted;
      if (passing && !last) {
        await answer?.body?.cancel(); // its connection is free again
        await pause(jittered(Math.min(FIRST_MS * 2 ** retry, LONGEST_MS)), options.signal);
      }
      if (!passing || last || options.signal?.aborted) {
        if (failure) throw failure;
        return answer;
      }
    }
  };
}

/** Half of it to one and a half, so that those who were refused together do not come back together. */
export const jittered = (ms) => ms * (0.5 + Math.random());

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
