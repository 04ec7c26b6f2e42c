import type { UsageEvent } from '#core/usage-event.ts';
import { encodeReservation, encodeUsed } from '#proxy/limits/reservation-text.ts';
import type { Journal, JournalEntry } from '#proxy/sink/journal/journal.ts';
import { sampleClosing, sampleOpening } from './usage.ts';

export function openCall(journal: Journal, id: string): Promise<void> {
  const { reservation, estimate, estimatedUse } = sampleOpening(id);
  return journal.opened(id, JSON.stringify(estimate), encodeReservation(reservation), encodeUsed(estimatedUse));
}

export function closeCall(journal: Journal, id: string, outputTokens = 7n): Promise<void> {
  const { reservation, used, event } = sampleClosing(id, outputTokens);
  return journal.closed(id, JSON.stringify(event), encodeReservation(reservation), encodeUsed(used));
}

/** Everything that waits to be shipped. */
export async function unshipped(journal: Journal): Promise<JournalEntry[]> {
  const { entries } = await journal.read(journal.cursor, { count: 1_000_000, bytes: 1_000_000_000 });
  return entries;
}

/** Marks everything as shipped and answers what it was. */
export async function shipAll(journal: Journal): Promise<JournalEntry[]> {
  const page = await journal.read(journal.cursor, { count: 1_000_000, bytes: 1_000_000_000 });
  await journal.shipped(page.next);
  return page.entries;
}

export function idsOf(entries: readonly JournalEntry[]): string[] {
  return entries.map((entry) => entry.id);
}

export function eventOf(entry: JournalEntry): UsageEvent {
  return JSON.parse(entry.event);
}
