/** How long after an answer the next question is asked. */
const REFRESH_MS = 500;
const RETRY_MS = 2_000;

/**
 * Asks again and again, and draws when the answer is another one. Rests while nobody looks at the page. Stops when the
 * signal does.
 *
 * @template Answer
 * @param {{ ask: () => Promise<Answer>, draw: (answer: Answer) => void, failed: (error: unknown) => void,
 *   signal: AbortSignal }} options
 */
export async function live({ ask, draw, failed, signal }) {
  let drawn = '';
  while (!signal.aborted) {
    let waitMs = REFRESH_MS;
    try {
      const answer = await ask();
      if (signal.aborted) return;
      const text = JSON.stringify(answer);
      if (text !== drawn) draw(answer);
      drawn = text;
    } catch (error) {
      if (signal.aborted) return;
      failed(error);
      drawn = '';
      waitMs = RETRY_MS;
    }
    await pause(waitMs, signal);
    await visible(signal);
  }
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 */
function pause(ms, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener('abort', resolve, { once: true });
  });
}

/** @param {AbortSignal} signal */
async function visible(signal) {
  while (document.hidden && !signal.aborted) {
    await new Promise((resolve) => {
      document.addEventListener('visibilitychange', resolve, { once: true });
      signal.addEventListener('abort', resolve, { once: true });
    });
  }
}
