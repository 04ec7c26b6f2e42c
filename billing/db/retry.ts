import { setTimeout as delay } from 'node:timers/promises';
import { sqlStateOf } from './database.ts';

const ATTEMPTS_MAX = 10;
const BACKOFF_MS = 5;
const BACKOFF_MAX_MS = 500;

/** serialization_failure and deadlock_detected: nothing happened, and the same again may succeed. */
const RETRYABLE = new Set(['40001', '40P01']);

/** Runs a transaction again from its start while Postgres chose it as the victim; gives up after ten times. */
export async function retryTransaction<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (thrown) {
      if (attempt === ATTEMPTS_MAX || !RETRYABLE.has(sqlStateOf(thrown) ?? '')) throw thrown;
      await delay(Math.random() * Math.min(BACKOFF_MS * 2 ** attempt, BACKOFF_MAX_MS));
    }
  }
}
