import type { Clock } from '#core/time.ts';
import type { Admitted } from './admission.ts';
import { type Ending, isUnmetered, unmetered } from './ending.ts';
import type { Flight } from './flight.ts';
import type { MaybePromise, ReserveAnswer } from './limits/counters.ts';
import { type Refusal, refusalOf } from './limits/refusal.ts';
import type { Observer } from './observer.ts';
import { closingOf, openingOf } from './record.ts';
import type { Reserving } from './reserving/reserving.ts';
import type { Opening, Sink } from './sink/sink.ts';

export interface LedgerParts {
  sink: Sink;
  observer: Observer;
  clock: Clock;
}

/**
 * The books of a call, whatever carries it: held, put on record, and closed, in this order. A call that was opened is
 * closed exactly once, or abandoned when nothing was sent for it.
 */
export class Ledger {
  readonly #parts: LedgerParts;
  readonly #reserving: Reserving;

  constructor(parts: LedgerParts, reserving: Reserving) {
    this.#parts = parts;
    this.#reserving = reserving;
  }

  /** Undefined when the call is held; else which limit refused it. Rejects with `limits_unavailable`. */
  reserve(flight: Flight, admitted: Admitted): MaybePromise<Refusal | undefined> {
    if (admitted.reservation.holds.length === 0) return undefined;
    const answer = this.#reserving.reserve(flight, admitted);
    return answer instanceof Promise
      ? answer.then((one) => this.#reserved(flight, admitted, one))
      : this.#reserved(flight, admitted, answer);
  }

  #reserved(flight: Flight, admitted: Admitted, answer: ReserveAnswer): Refusal | undefined {
    flight.renewedMs = flight.atMs;
    if (answer.admitted) {
      flight.reservation = admitted.reservation;
      return undefined;
    }
    const refusal = refusalOf(admitted.limits, admitted.reservation, answer);
    this.#parts.observer.callRefused(admitted.seen, { code: refusal.code, limit: refusal.limit });
    return refusal;
  }

  /** On record from here on, durably. What is held is given back when that fails. */
  async open(flight: Flight, admitted: Admitted): Promise<Opening> {
    let opening: Opening;
    try {
      opening = openingOf(flight, admitted);
      await this.#parts.sink.open(opening);
    } catch (thrown) {
      await this.#reserving.release(flight, admitted.reservation);
      throw thrown;
    }
    this.#parts.observer.callStarted(admitted.seen);
    return opening;
  }

  /** Nothing was sent: as if it had not been. */
  abandon(flight: Flight, opening: Opening): Promise<void> {
    this.#reserving.releaseLocal(flight);
    return this.#parts.sink.abandon(opening);
  }

  /** It goes on at its provider, and is closed by whoever sees its end. What it held of this gateway's own is spent. */
  leave(flight: Flight, { reservation }: Admitted): void {
    flight.reservation = null;
    this.#reserving.settleLocal(
      flight,
      reservation.holds.map(({ amount }) => amount),
    );
  }

  /** Settles its limits and keeps its event. */
  async close(flight: Flight, admitted: Admitted, ending: Ending): Promise<void> {
    const { clock, sink, observer } = this.#parts;
    flight.reservation = null;
    const closing = closingOf(flight, admitted, ending, clock());
    if (admitted.asked.metering === 'usage' && isUnmetered(ending, closing.event))
      observer.faulted(unmetered(), flight.id);
    this.#reserving.settleLocal(flight, closing.used);
    await sink.close(closing);
    observer.callEnded(admitted.seen, closing.event, flight.gone ? null : flight.status);
  }
}
