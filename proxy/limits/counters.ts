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
   * Holds the worst case against every limit, or says which ones refuse. An id that was admitted before is admitted
   * again without holding anything more, whatever has become of it; one that was refused is decided anew.
   */
  reserve(reservation: Reservation): MaybePromise<ReserveAnswer>;

  /**
   * Raises what a call in flight holds to `amounts` (one for each hold: the whole, not what comes on top, so that saying
   * it twice is saying it once), all of it or nothing. Nothing is ever lowered; requests and concurrency stay as they
   * are. It also renews the lease, refused or not: a call that says the amounts it has is only a heartbeat, and always
   * admitted. A call whose lease had ended is held again first. One that the store has never seen (the counters were lost) is reserved. One that was
   * settled or released is refused.
   */
  extend(reservation: Reservation, amounts: readonly bigint[]): MaybePromise<ReserveAnswer>;

  /**
   * Replaces what is held by what was used. Always succeeds: more than was held is recorded as it is (debt). Idempotent
   * by reservation id: `settled` is false when it was settled or released before. A reservation whose lease has ended is
   * corrected. A reservation that the store has never seen (the counters were lost) counts in full, now.
   * `event` is appended to the store's own event stream in the same step, where the store has one. `replayed`: the store
   * may have settled it once and lost it since, so billing may have it: quotas with a series are not charged with what
   * the store has never seen, but are unknown until they have been seeded again.
   */
  settle(
    reservation: Reservation,
    used: readonly bigint[],
    event?: string,
    replayed?: boolean,
  ): MaybePromise<SettleAnswer>;

  /**
   * Gives every hold back: the call never reached an upstream. Idempotent. What counted at admission stays counted.
   * Releasing an id that was never seen closes it: a reserve that comes late (a lost connection) holds nothing.
   */
  release(reservation: Reservation): MaybePromise<void>;

  /** True where counts that are not known are asked for: then quotas name their series. */
  readonly seeded?: boolean;
}

/** What keepers of the counters ask and tell, beside the calls. */
export interface CounterBook {
  /**
   * What a quota has used, from billing's sums, for counters that were lost or never existed. Raises `used` to it and
   * never lowers it, since billing may lag behind what is counted here; leaves holds alone. From then on the count is
   * trusted, and with a series every later period of it too. False, and nothing is done, where the counter is not as
   * the seed says that it was.
   */
  seed(customer: string, seed: Seed): MaybePromise<boolean>;

  /** Where a counter stands, for tests and the operator's page. */
  read(customer: string, counter: string): MaybePromise<CounterState>;

  /** Calls that hold something, by the end of their lease and their id; those after a place in that order. */
  listLive(customer: string, after: LivePlace | null, max: number): MaybePromise<LiveReservation[]>;

  /** Counters that have used more than their limit, by name; those after a name. */
  listDebts(customer: string, after: string, max: number): MaybePromise<Debt[]>;

  /** Ends leases whose time has come although nobody calls: a bounded number. Answers how many. */
  sweep(): MaybePromise<number>;
}

export type CounterStore = Counters & CounterBook;

export type MaybePromise<T> = T | Promise<T>;

export interface Reservation {
  /** The request id. */
  id: string;
  customer: string;
  /** The gateway's clock at admission; the store uses its own clock for every decision. */
  atMs: number;
  /** The hold ends by itself this long after admission or its last extension: quotas are charged with it, everything else is given back. */
  leaseMs: number;
  holds: readonly Hold[];
}

/**
 * The kind of a counter and the window of a rate are part of its name: they never change. Limit and burst may.
 *
 * `soft`: never refuses. What does not fit is said (`fits: false`) and held all the same.
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
 * `warnAt`: amounts, ascending, that are reported once when `used` has reached them; `currency`: of a budget, for these
 * reports. `series`: the count must be known
 * before it is trusted (see `ReserveAnswer.unknown`); without it a counter that is not there has counted nothing.
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
      soft?: true;
    }
  | { kind: 'concurrency'; counter: string; amount: 1n; limit: bigint; soft?: true }
  | {
      kind: 'quota';
      counter: string;
      amount: bigint;
      limit: bigint;
      expiresAtMs: number;
      soft?: true;
      warnAt?: readonly bigint[];
      currency?: string;
      series?: Series;
    };

/** The counters of one limit over its periods. */
export interface Series {
  name: string;
  /** When the period of this counter began: one that began after the series was first known has counted everything. */
  startMs: number;
}

export interface ReserveAnswer {
  admitted: boolean;
  /** One for each hold, in its order: with what the call holds where it was admitted, without where it was not. */
  states: readonly HoldState[];
  /** Thresholds that were reached since somebody was last told. */
  crossed: readonly Crossing[];
  /** Places of quotas whose count the store does not know (lost, or never seeded): nothing is held before it does. */
  unknown: readonly number[];
}

export interface HoldState extends CounterState {
  /** False where the limit has no room for the call. A hold that is not soft refuses it then. */
  fits: boolean;
  /** How long until it would fit if nothing else came: 0 where it fits, null where time alone does not help. */
  waitMs: number | null;
}

/** A threshold of a hold that has been reached: said once in the life of its counter. */
export interface Crossing {
  /** Place of the hold. */
  index: number;
  threshold: bigint;
}

export interface SettleAnswer {
  settled: boolean;
  crossed: readonly Crossing[];
  /** Places of holds whose counters have now used more than their limit allows. */
  over: readonly number[];
}

export interface CounterState {
  used: bigint;
  held: bigint;
}

export interface Seed {
  counter: string;
  used: bigint;
  expiresAtMs: number;
  series?: Series;
  /** How it was when the sum was asked for: the sum does not hold what has been settled since. */
  as?: Standing;
}

/** A counter of a period, wherever it stands. */
export type CountedIn = Pick<Seed, 'counter' | 'expiresAtMs'>;

export interface Standing {
  readonly used: bigint;
  /** 0 while it has not been seeded, odd when it has, even where that is in doubt: a number that only grows. */
  readonly mark: number;
}

export interface LivePlace {
  untilMs: number;
  id: string;
}

export interface LiveReservation extends LivePlace {
  holds: readonly { counter: string; amount: bigint }[];
}

export interface Debt {
  counter: string;
  /** Of a rate: what may come at once. */
  limit: bigint;
  used: bigint;
}

/**
 * Asserted by every implementation, and by the configuration before: all sums stay exact in a Lua number. Rates count
 * in units times `windowMs`, so `burst * windowMs` stays below it too. A debt, or what soft limits hold, that would pass
 * it stops there, which is above every limit.
 */
export const COUNTER_MAX = 2n ** 53n - 1n;
