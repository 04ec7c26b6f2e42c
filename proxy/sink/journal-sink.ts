import type { Counters } from '../limits/counters.ts';
import type { Journal } from './journal/journal.ts';
import type { Sink } from './sink.ts';

/** Counters that die with the process need no reservation when it starts again: they begin from billing's sums. */
const NONE = '';

/**
 * The sink of a gateway that keeps its counters itself: openings and closings both stand in the journal, and whoever
 * ships it brings the events to billing.
 */
export function journalSink({ counters, journal }: { counters: Counters; journal: Journal }): Sink {
  return {
    open: ({ reservation, estimate }) => journal.opened(reservation.id, JSON.stringify(estimate), NONE, NONE),
    close({ reservation, used, event }) {
      const written = journal.closed(reservation.id, JSON.stringify(event));
      const settled = counters.settle(reservation, used);
      return settled instanceof Promise ? settled.then(() => written) : written;
    },
    async abandon({ reservation }) {
      const written = journal.abandoned(reservation.id);
      await counters.release(reservation);
      await written;
    },
    drain: () => journal.flush(),
  };
}
