import type { Counters } from '../limits/counters.ts';
import { encodeReservation, encodeUsed } from '../limits/reservation-text.ts';
import type { Journal } from './journal/journal.ts';
import type { Closing, Opening, Sink } from './sink.ts';

/**
 * The sink of a gateway that keeps its counters itself: openings and closings both stand in the journal, and whoever
 * ships it brings the events to billing.
 */
export function journalSink({ counters, journal }: { counters: Counters; journal: Journal }): Sink {
  return {
    open: (opening) => journalOpening(journal, opening),
    async close(closing) {
      const written = journalClosing(journal, closing, JSON.stringify(closing.event));
      await counters.settle(closing.reservation, closing.used);
      await written;
    },
    async abandon({ reservation }) {
      const written = journal.abandoned(reservation.id);
      await counters.release(reservation);
      await written;
    },
    drain: () => journal.flush(),
  };
}

export function journalOpening(journal: Journal, { reservation, estimate, estimatedUse }: Opening): Promise<void> {
  const event = JSON.stringify(estimate);
  return journal.opened(reservation.id, event, encodeReservation(reservation), encodeUsed(estimatedUse));
}

export function journalClosing(journal: Journal, { reservation, used }: Closing, event: string): Promise<void> {
  return journal.closed(reservation.id, event, encodeReservation(reservation), encodeUsed(used));
}
