import type { UsageEvent } from '#core/usage-event.ts';
import type { Reservation } from '#proxy/limits/counters.ts';
import { parseReservation } from '#proxy/limits/reservation-text.ts';
import { WIRES } from '#proxy/wire/wires.ts';
import type { Journal, JournalEntry } from './journal.ts';

const AT_ONCE = 256;

export interface RecoveryParts {
  journal: Journal;
  /** True for a call that was handed over before the process died: whoever sees its end closes it. */
  isHandedOver?: (customer: string, id: string) => Promise<boolean>;
}

export interface Recovered {
  closed: number;
  /** Nobody could say whether these were handed over: to be tried again. */
  undecided: JournalEntry[];
}

/**
 * Closes what the process before opened and could not close, each with the estimate that its opening left. To be
 * called once, before the first call is taken, and again with what was undecided. A crash in the middle of it is
 * harmless: what was not closed yet is still open for the next start.
 *
 * Whether the store had settled one of them, and died since, is not known: it is settled like what the store was away for.
 */
export async function recoverJournal(parts: RecoveryParts, undecided?: JournalEntry[]): Promise<Recovered> {
  const entries = undecided ?? (await parts.journal.live());
  const recovered: Recovered = { closed: 0, undecided: [] };
  for (let i = 0; i < entries.length; i += AT_ONCE) {
    await Promise.all(entries.slice(i, i + AT_ONCE).map((entry) => recover(parts, entry, recovered)));
  }
  return recovered;
}

async function recover({ journal, isHandedOver }: RecoveryParts, entry: JournalEntry, to: Recovered) {
  const { id, event, reservation, used } = entry;
  if (isHandedOver) {
    const { data }: UsageEvent = JSON.parse(event);
    if (GOING_ON.has(data.wire)) {
      try {
        if (await isHandedOver(data.customer, id)) return journal.abandoned(id);
      } catch {
        // The store is away, which says so itself wherever it is asked.
        to.undecided.push(entry);
        return;
      }
    }
  }
  await (reservation === '' ? journal.closed(id, event) : journal.closedUnsettled(id, event, reservation, used));
  to.closed++;
}

/** Wires whose calls may be handed over. */
const GOING_ON: ReadonlySet<string> = new Set(WIRES.filter(({ goesOn }) => goesOn).map(({ name }) => name));

/** Without holds where the gateway kept its counters itself: there is nothing left to settle then. */
export function reservationOf({ reservation, event }: JournalEntry): Reservation {
  if (reservation !== '') return parseReservation(reservation);
  const { id, time, data }: UsageEvent = JSON.parse(event);
  return { id, customer: data.customer, atMs: Date.parse(time), leaseMs: 1, holds: [] };
}
