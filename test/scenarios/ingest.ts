import type { UsageEvent } from '#core/usage-event.ts';
import { usageEvent } from '../support/usage-events.ts';

export const NOW = Date.UTC(2026, 10, 20, 12);
export const BATCHES = 400;
export const BATCH_EVENTS = 20;

/** The same events each time: what a sender sends again after its process or ours has died. */
export function batchOf(n: number): UsageEvent[] {
  return Array.from({ length: BATCH_EVENTS }, (_, i) => {
    const number = n * BATCH_EVENTS + i;
    return usageEvent({
      id: `req_${number}`,
      customer: `customer-${number % 7}`,
      atMs: NOW - (number % 5) * 1_800_000,
      quantities: { calls: '1', audio_seconds: '0.1' },
    });
  });
}
