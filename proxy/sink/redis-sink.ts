import { Fault } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import type { Clock } from '#core/time.ts';
import type { Counters } from '../limits/counters.ts';
import { encodeCounts, encodeReservation, encodeUsed, parseUsed } from '../limits/reservation-text.ts';
import type { Journal, JournalEntry } from './journal/journal.ts';
import { reservationOf } from './journal/recovery.ts';
import { type Shipper, shipEntries, shipJournal } from './journal/shipper.ts';
import type { Closing, Sink } from './sink.ts';

export interface RedisSinkOptions {
  /** Settles and appends the event to its stream in one step, and rejects in time where that cannot be. */
  counters: Counters;
  journal: Journal;
  now: Clock;
  log: Log;
}

export interface RedisSink extends Sink {
  /** Settles in Redis what is unsettled in the journal because Redis was away. */
  readonly replay: Shipper;
}

/** How many settlements of the journal go to Redis at once when it is back. */
const REPLAY = { count: 64, bytes: 1024 * 1024 };

/**
 * The sink of a gateway whose counters are in Redis: a settlement and its event are one script there, so they are both
 * done or both not. The opening stands in the local journal, and so does the closing: while Redis is away, to be settled
 * there; afterwards, until billing has the event, since Redis may lose what billing has not read.
 *
 * A settlement that timed out may have been done all the same. That is why it is replayed and not looked up: settling
 * the same reservation again does nothing and appends nothing.
 */
export function redisSink(options: RedisSinkOptions): RedisSink {
  const { counters, journal, now, log } = options;
  let closings = 0;
  /** Somebody waits until there is none. */
  let drained: PromiseWithResolvers<void> | undefined;

  async function settle({ reservation, used, event }: Closing): Promise<void> {
    if (!journal.isLive(reservation.id)) return;
    const text = JSON.stringify(event);
    closings++;
    try {
      if (!replay.failing) {
        try {
          await counters.settle(reservation, used, text);
          // Not awaited: if it is lost in a crash, recovery settles again, which does nothing.
          void journal.closedSettled(reservation.id, text, encodeCounts(reservation));
          return;
        } catch (error) {
          log.warn({ err: error, id: reservation.id }, 'A settlement goes to the journal, to be replayed.');
        }
      }
      await journal.closedUnsettled(reservation.id, text, encodeReservation(reservation), encodeUsed(used));
    } finally {
      closings--;
      if (closings === 0) {
        drained?.resolve();
        drained = undefined;
      }
    }
  }

  async function replayOne(entry: JournalEntry): Promise<void> {
    const { id, event, used } = entry;
    const held = reservationOf(entry);
    try {
      await (event === '' ? counters.release(held) : counters.settle(held, parseUsed(used), event, true));
    } catch (error) {
      if (!isFinal(error)) throw error;
      log.error({ err: error, id }, 'The limits do not take a settlement: its holds end with their lease.');
      // Under an id of its own, since closing this one would leave what it holds behind for ever.
      if (event !== '') await counters.settle({ ...held, id: `${id}:event`, holds: [] }, [], event);
    }
  }

  const replay = shipJournal({
    journal: journal.unsettled,
    now,
    log,
    batch: REPLAY,
    ship: shipEntries(async (batch) => {
      await Promise.all(batch.map(replayOne));
    }),
  });

  return {
    replay,
    open: ({ reservation, estimate, estimatedUse }) =>
      journal.opened(
        reservation.id,
        JSON.stringify(estimate),
        encodeReservation(reservation),
        encodeUsed(estimatedUse),
      ),
    close: settle,
    async abandon({ reservation }) {
      try {
        await counters.release(reservation);
        await journal.abandoned(reservation.id);
      } catch (error) {
        log.warn({ err: error, id: reservation.id }, 'A release goes to the journal, to be replayed.');
        // A closing without an event: replayed as a release.
        await journal.closedUnsettled(reservation.id, '', encodeReservation(reservation), '');
      }
    },
    async drain() {
      drained ??= closings > 0 ? Promise.withResolvers() : undefined;
      await drained?.promise;
      await journal.flush();
    },
  };
}

/**
 * True when trying again cannot help: an assertion, or an error that a script raised itself (a counter that is of
 * another kind now). One such call must not keep every event behind it from billing.
 */
export function isFinal(error: unknown): boolean {
  if (error instanceof RangeError || error instanceof TypeError) return true;
  const cause = error instanceof Fault ? error.cause : error;
  return cause instanceof Error && cause.name === 'ReplyError' && cause.message.startsWith('ERR ');
}
