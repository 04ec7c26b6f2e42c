import { type LimitWarning, limitWarning } from '#core/limit-warning.ts';
import type { Log } from '#core/log.ts';
import type { Clock } from '#core/time.ts';
import type { Counters, Crossing, Hold, MaybePromise, Reservation } from './counters.ts';

/** A threshold of a limit that has been reached: said once in the life of its counter, whichever call it was that reached it. */
export interface Notice {
  readonly customer: string;
  readonly counter: string;
  readonly threshold: bigint;
  readonly limit: bigint;
  /** Of a budget. */
  readonly currency: string | null;
}

/** The same counters; what they say of thresholds is told to somebody. */
export function noticedCounters<Store extends Counters>(counters: Store, notice: (notice: Notice) => void): Store {
  function tell<Answer extends { readonly crossed: readonly Crossing[] }>(
    { customer, holds }: Reservation,
    answer: Answer,
  ): Answer {
    if (answer.crossed.length === 0) return answer;
    for (const { index, threshold } of answer.crossed) {
      const hold = holds[index];
      if (hold?.kind !== 'quota') continue;
      notice({ customer, counter: hold.counter, threshold, limit: hold.limit, currency: hold.currency ?? null });
    }
    return answer;
  }
  function told<Answer extends { readonly crossed: readonly Crossing[] }>(
    reservation: Reservation,
    answer: MaybePromise<Answer>,
  ): MaybePromise<Answer> {
    if (!reservation.holds.some(hasThresholds)) return answer;
    return answer instanceof Promise ? answer.then((one) => tell(reservation, one)) : tell(reservation, answer);
  }
  return {
    ...counters,
    reserve: (reservation) => told(reservation, counters.reserve(reservation)),
    extend: (reservation, amounts) => told(reservation, counters.extend(reservation, amounts)),
    settle: (reservation, used, event, replayed) =>
      told(reservation, counters.settle(reservation, used, event, replayed)),
  };
}

function hasThresholds(hold: Hold): boolean {
  return hold.kind === 'quota' && hold.warnAt !== undefined;
}

export interface NoticeParts {
  clock: Clock;
  log: Log;
  /** Keeps the event of it until billing has it. */
  keep: (warning: LimitWarning) => void;
}

/** Once in the life of a counter, by whichever gateway it was that its store told. */
export function noticeTo({ clock, log, keep }: NoticeParts): (notice: Notice) => void {
  return ({ customer, counter, currency, ...figures }) => {
    const [threshold, limit] = [figures.threshold.toString(), figures.limit.toString()];
    log.warn({ customer, counter, threshold, limit }, 'a limit has reached a threshold of its warn_at');
    keep(limitWarning({ customer, counter, threshold, amount: limit, currency, atMs: clock() }));
  };
}
