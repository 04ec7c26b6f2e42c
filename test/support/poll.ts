import { setTimeout as pause } from 'node:timers/promises';

/** Resolves when the thing has happened. Throws when it has not within the bound. For programs; tests have vi.waitFor. */
export async function poll(happened: () => boolean, timeoutMs = 10_000): Promise<void> {
  const until = Date.now() + timeoutMs;
  while (!happened()) {
    if (Date.now() > until) throw new Error(`did not happen within ${timeoutMs} ms: ${happened}`);
    await pause(5);
  }
}
