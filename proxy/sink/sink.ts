import type { UsageEvent } from '#core/usage-event.ts';
import type { Reservation } from '../limits/counters.ts';

/**
 * Where calls are opened and closed, durably. What was opened and never closed becomes an `estimated` event when the
 * gateway starts again; closing settles the limits and keeps the event, both or neither, exactly once by event id.
 * Implementations: journal (embedded), Redis stream with the journal as fallback, Cloudflare Queue.
 */
export interface Sink {
  /** Resolves when the opening is as durable as the fsync policy says. Rejects with `journal_unavailable`: do not call the upstream then. */
  open(opening: Opening): Promise<void>;

  /** Resolves when the event is durable; never rejects for a store that is away (it is kept and replayed). */
  close(closing: Closing): Promise<void>;

  /** The call was refused upstream of everything after it was opened: nothing was served, there is no event. Gives the holds back. */
  abandon(opening: Opening): Promise<void>;

  /** Resolves when all that was closed is durable and nothing is in flight. */
  drain(): Promise<void>;
}

export interface Opening {
  reservation: Reservation;
  /** The event to emit, and what to settle, should the gateway die before it knows better. */
  estimate: Closing['event'];
  estimatedUse: readonly bigint[];
}

export interface Closing {
  reservation: Reservation;
  /** What each hold of the reservation really used, in its order. */
  used: readonly bigint[];
  event: UsageEvent;
}
