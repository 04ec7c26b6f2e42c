import type { UsageEvent } from '#core/usage-event.ts';
import type { Reservation } from '#proxy/limits/counters.ts';
import { parseReservation, parseUsed } from '#proxy/limits/reservation-text.ts';
import type { Closing, Sink } from '#proxy/sink/sink.ts';
import type { Journal, JournalEntry } from './journal.ts';

const AT_ONCE = 256;

/**
 * Closes what the process before opened and could not close, each with the estimate that its opening left. To be
 * called once, before the first call is taken. Answers how many there were. A crash in the middle of it is harmless:
 * what was not closed yet is still open for the next start.
 */
export async function recoverJournal({ journal, sink }: { journal: Journal; sink: Sink }): Promise<number> {
  const entries = await journal.live();
  for (let i = 0; i < entries.length; i += AT_ONCE) {
    await Promise.all(entries.slice(i, i + AT_ONCE).map((entry) => sink.close(closingOf(entry))));
  }
  return entries.length;
}

function closingOf(entry: JournalEntry): Closing {
  return { reservation: reservationOf(entry), used: parseUsed(entry.used), event: JSON.parse(entry.event) };
}

/** Without holds where the gateway kept its counters itself: there is nothing left to settle then. */
export function reservationOf({ reservation, event }: JournalEntry): Reservation {
  if (reservation !== '') return parseReservation(reservation);
  const { id, time, data }: UsageEvent = JSON.parse(event);
  return { id, customer: data.customer, atMs: Date.parse(time), leaseMs: 1, holds: [] };
}
