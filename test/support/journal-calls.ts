import type { UsageEvent } from '#core/usage-event.ts';
import { encodeReservation, encodeUsed } from '#proxy/limits/reservation-text.ts';
import { type Journal, type JournalEntry, readClosings } from '#proxy/sink/journal/journal.ts';
import { sampleClosing, sampleOpening } from './usage.ts';

const ALL = { count: 1_000_000, bytes: 1_000_000_000 };

export function openCall(journal: Journal, id: string): Promise<void> {
  const { reservation, estimate, estimatedUse } = sampleOpening(id);
  return journal.opened(id, JSON.stringify(estimate), encodeReservation(reservation), encodeUsed(estimatedUse));
}

export function closeCall(journal: Journal, id: string, outputTokens = 7n): Promise<void> {
  const { reservation, used, event } = sampleClosing(id, outputTokens);
  return journal.closed(id, JSON.stringify(event), encodeReservation(reservation), encodeUsed(used));
}

/** Closed while its store is away. */
export function closeUnsettled(journal: Journal, id: string, outputTokens = 7n): Promise<void> {
  const { reservation, used, event } = sampleClosing(id, outputTokens);
  return journal.closedUnsettled(id, JSON.stringify(event), encodeReservation(reservation), encodeUsed(used));
}

/** Closed once its store has it. */
export function closeSettled(journal: Journal, id: string, outputTokens = 7n): Promise<void> {
  return journal.closedSettled(id, JSON.stringify(sampleClosing(id, outputTokens).event), '');
}

/** Everything whose limits are to be settled yet. */
export async function unsettled({ unsettled: course }: Journal): Promise<JournalEntry[]> {
  const { entries } = await readClosings(course.range(course.cursor, ALL));
  return entries;
}

/** Everything that waits to be shipped. */
export async function unshipped(journal: Journal): Promise<JournalEntry[]> {
  const { entries } = await readClosings(journal.range(journal.cursor, ALL));
  return entries;
}

/** Marks everything as shipped and answers what it was. */
export async function shipAll(journal: Journal): Promise<JournalEntry[]> {
  const page = await readClosings(journal.range(journal.cursor, ALL));
  await journal.shipped(page.next);
  return page.entries;
}

export function idsOf(entries: readonly JournalEntry[]): string[] {
  return entries.map((entry) => entry.id);
}

export function eventOf(entry: JournalEntry): UsageEvent {
  return JSON.parse(entry.event);
}
