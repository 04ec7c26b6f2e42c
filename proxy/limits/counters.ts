/**
 * The port of the limits: everything that a call counts against, decided in one atomic step. Implementations: memory,
 * Redis, Durable Object; one conformance suite (test/conformance/counters.ts) runs over all of them, and `decide.ts` is
 * the rule that they share.
 *
 * Whole numbers only. All counters of a customer live together (one hash tag, one Durable Object), so one step can
 * decide over the limits of customer and key at once: all are held, or none.
 */
export interface Counters {
  /**
   * Holds the worst case against every limit, or says which one refuses. An id that was admitted before is admitted
   * again without holding anything more, whatever has become of it; one that was refused is decided anew.
   */
  reserve(reservation: Reservation): MaybePromise<ReserveAnswer>;

  /**
   * Replaces each hold by what was used. Always succeeds: more than was held is recorded as it is (debt). Idempotent
   * by reservation id: false when it was settled or released before. A reservation whose lease has ended is corrected.
   * A reservation that the store has never seen (the counters were lost) counts in full, now.
   * `event` is appended to the store's own event stream in the same step, where the store has one.
   */
  settle(reservation: Reservation, used: readonly bigint[], event?: string): MaybePromise<boolean>;

  /**
   * Gives every hold back: the call never reached an upstream. Idempotent. What counted at admission stays counted.
   * Releasing an id that was never seen closes it: a reserve that comes late (a lost connection) holds nothing.
   */
  release(reservation: Reservation): MaybePromise<void>;

  /**
   * What a quota has used, from billing's sums, for counters that were lost or never existed. Raises `used` to it and
   * never lowers it, since billing may lag behind what is counted here; leaves holds alone.
   */
  seed(customer: string, counter: string, used: bigint, expiresAtMs: number): MaybePromise<void>;

  /** Where the counters stand, for tests, refusals and the operator's page. */
  read(customer: string, counter: string): MaybePromise<CounterState>;
}

export type MaybePromise<T> = T | Promise<T>;

export interface Reservation {
  /** The request id. */
  id: string;
  customer: string;
  /** The gateway's clock at admission; the store uses its own clock for every decision. */
  atMs: number;
  /** The hold ends by itself this long after admission: quotas are charged with it, everything else is given back. */
  leaseMs: number;
  holds: readonly Hold[];
}

/**
 * The kind of a counter and the window of a rate are part of its name: they never change. Limit and burst may.
 *
 * rate: at most `burst` at once, refilled by `limit` per `windowMs` (GCRA, as a leaky bucket over settled amounts plus
 * what is held). `counted: 'admission'` takes the amount at once and never gives it back (requests);
 * `'settlement'` holds it until the call is settled (tokens), so over any span t no more than
 * `burst + limit * t / windowMs` is ever settled without debt.
 *
 * concurrency: at most `limit` reservations are live.
 *
 * quota: `used + held` never passes `limit`; the counter names its period. From `expiresAtMs` on it admits nothing and
 * forgets what it counted: that lies behind the end of the period by more than clocks differ and leases last.
 */
export type Hold =
  | {
      kind: 'rate';
      counter: string;
      amount: bigint;
      limit: bigint;
      burst: bigint;
      windowMs: number;
      counted: 'admission' | 'settlement';
    }
  | { kind: 'concurrency'; counter: string; amount: 1n; limit: bigint }
  | { kind: 'quota'; counter: string; amount: bigint; limit: bigint; expiresAtMs: number };

export type ReserveAnswer = { admitted: true } | Refused;

export interface Refused {
  admitted: false;
  /** Index of the first hold that does not fit. */
  index: number;
  used: bigint;
  held: bigint;
  /** How long until it would fit if nothing else came; null where time alone does not help. */
  retryAfterMs: number | null;
}

export interface CounterState {
  used: bigint;
  held: bigint;
}

/**
 * Asserted by every implementation, and by the configuration before: all sums stay exact in a Lua number. Rates count
 * in units times `windowMs`, so `burst * windowMs` stays below it too. A debt that would pass it stops there, which is
 * above every limit.
 */
export const COUNTER_MAX = 2n ** 53n - 1n;
