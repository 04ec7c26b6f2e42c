import { COUNTER_MAX, type CounterState, type Hold, type HoldState } from './counters.ts';

/** One counter of each kind and its arithmetic: what it says, what fits, what it is after a hold or a charge. */
export type Counter = RateCounter | ConcurrencyCounter | QuotaCounter;

export interface RateCounter {
  kind: 'rate';
  /** Settled amounts that have not leaked away, times `windowMs`: so a leak of `limit` per `windowMs` is whole per ms. */
  level: bigint;
  /** When `level` was right. */
  atMs: number;
  held: bigint;
  limit: bigint;
  burst: bigint;
  windowMs: number;
}

export interface ConcurrencyCounter {
  kind: 'concurrency';
  held: bigint;
}

export interface QuotaCounter {
  kind: 'quota';
  used: bigint;
  held: bigint;
  limit: bigint;
  expiresAtMs: number;
  /** The highest threshold that was reported. */
  warned: bigint;
  /** False for one that was made by the end of a call: what came before is not in it. */
  seeded: boolean;
}

/** True when a counter says no more than its absence: the store may forget it. */
export function isSpent(counter: Counter, nowMs: number): boolean {
  if (counter.kind === 'quota') return counter.expiresAtMs <= nowMs;
  return counter.held === 0n && (counter.kind === 'concurrency' || leaked(counter, counter.limit, nowMs) === 0n);
}

export function stateOf(counter: Counter | undefined, nowMs: number): CounterState {
  if (!counter || isSpent(counter, nowMs)) return { used: 0n, held: 0n };
  if (counter.kind === 'concurrency') return { used: 0n, held: counter.held };
  if (counter.kind === 'quota') return { used: counter.used, held: counter.held };
  return { used: unitsOf(leaked(counter, counter.limit, nowMs), counter.windowMs), held: counter.held };
}

/** Whether `amount` more fits under a hold's limit, and where its counter stands. */
export function fitOf(hold: Hold, amount: bigint, counter: Counter | undefined, nowMs: number): HoldState {
  if (hold.kind === 'concurrency') {
    const { held } = concurrencyOf(counter);
    return stand(0n, held, held + amount <= hold.limit);
  }
  if (hold.kind === 'quota') {
    const { used, held, expiresAtMs } = quotaOf(counter, hold.expiresAtMs, hold.limit, nowMs);
    if (expiresAtMs <= nowMs) return stand(0n, 0n, false);
    return stand(used, held, used + held + amount <= hold.limit);
  }
  const bucket = rateOf(counter, hold, nowMs);
  const level = leaked(bucket, hold.limit, nowMs);
  const used = unitsOf(level, hold.windowMs);
  const free = (hold.burst - bucket.held - amount) * BigInt(hold.windowMs);
  if (free >= level) return stand(used, bucket.held, true);
  // Time helps only where emptying the bucket would be enough.
  const waitMs = free < 0n || hold.limit === 0n ? null : Number(ceilDivide(level - free, hold.limit));
  return { used, held: bucket.held, fits: false, waitMs };
}

function stand(used: bigint, held: bigint, fits: boolean): HoldState {
  return { used, held, fits, waitMs: fits ? 0 : null };
}

/**
 * The counter with `amount` more in it, and how much of that is held: what soft limits hold stops at the largest number.
 * Undefined for a quota that has ended, which only a soft hold comes to.
 */
export function admit(
  hold: Hold,
  amount: bigint,
  counter: Counter | undefined,
  nowMs: number,
): [Counter, bigint] | undefined {
  if (hold.kind === 'concurrency') {
    const { held } = concurrencyOf(counter);
    return [{ kind: 'concurrency', held: held + amount }, amount];
  }
  if (hold.kind === 'quota') {
    const { used, held, expiresAtMs, warned } = quotaOf(counter, hold.expiresAtMs, hold.limit, nowMs);
    if (expiresAtMs <= nowMs) return undefined;
    const more = min(amount, COUNTER_MAX - held);
    return [{ kind: 'quota', used, held: held + more, limit: hold.limit, expiresAtMs, warned, seeded: true }, more];
  }
  const { limit, burst, windowMs } = hold;
  const bucket = rateOf(counter, hold, nowMs);
  const level = leaked(bucket, limit, nowMs);
  if (hold.counted === 'admission') {
    const filled = min(level + amount * BigInt(windowMs), COUNTER_MAX);
    return [{ kind: 'rate', level: filled, atMs: nowMs, held: bucket.held, limit, burst, windowMs }, amount];
  }
  const more = min(amount, COUNTER_MAX - bucket.held);
  return [{ kind: 'rate', level, atMs: nowMs, held: bucket.held + more, limit, burst, windowMs }, more];
}

/** The counter with `given` less held and `charge` more used. A quota that has ended takes no more entries (undefined). */
export function change(
  hold: Hold,
  given: bigint,
  charge: bigint,
  counter: Counter | undefined,
  nowMs: number,
): Counter | undefined {
  if (hold.kind === 'concurrency') {
    return given === 0n ? undefined : { kind: 'concurrency', held: less(concurrencyOf(counter).held, given) };
  }
  if (hold.kind === 'quota') {
    const quota = quotaOf(counter, hold.expiresAtMs, hold.limit, nowMs);
    if (quota.expiresAtMs <= nowMs) return undefined;
    const used = charge < 0n ? less(quota.used, -charge) : min(quota.used + charge, COUNTER_MAX);
    // One that was only seeded does not know its limit.
    const limit = quota.limit === COUNTER_MAX ? hold.limit : quota.limit;
    const { expiresAtMs, warned, seeded } = quota;
    return { kind: 'quota', used, held: min(less(quota.held, given), COUNTER_MAX), limit, expiresAtMs, warned, seeded };
  }
  const bucket = rateOf(counter, hold, nowMs);
  const level = min(leaked(bucket, bucket.limit, nowMs) + charge * BigInt(bucket.windowMs), COUNTER_MAX);
  const { limit, burst, windowMs } = bucket;
  const held = min(less(bucket.held, given), COUNTER_MAX);
  return { kind: 'rate', level, atMs: nowMs, held, limit, burst, windowMs };
}

/** True when more than the limit has been used: what comes next pays for it first. Right at the counter's own time. */
export function isOver(counter: Counter): boolean {
  if (counter.kind === 'quota') return counter.used > counter.limit;
  return counter.kind === 'rate' && counter.level > counter.burst * BigInt(counter.windowMs);
}

/** What a counter has used beyond its limit now; undefined where it is within it. */
export function debtOf(counter: Counter, nowMs: number): { limit: bigint; used: bigint } | undefined {
  if (counter.kind === 'concurrency') return undefined;
  const { used } = stateOf(counter, nowMs);
  const limit = counter.kind === 'quota' ? counter.limit : counter.burst;
  return used > limit ? { limit, used } : undefined;
}

function concurrencyOf(counter: Counter | undefined): ConcurrencyCounter {
  if (counter && counter.kind !== 'concurrency') throw new RangeError(`a ${counter.kind} counter as concurrency`);
  return counter ?? { kind: 'concurrency', held: 0n };
}

/**
 * A period that is moved (another time zone) ends when the later of the two ends: it is never counted afresh. What has
 * ended says nothing any more, whether the store has forgotten it or not: a later end (a session that comes back) begins
 * anew.
 */
export function quotaOf(counter: Counter | undefined, expiresAtMs: number, limit: bigint, nowMs: number): QuotaCounter {
  if (counter && counter.kind !== 'quota') throw new RangeError(`a ${counter.kind} counter as quota`);
  if (!counter || (counter.expiresAtMs <= nowMs && nowMs < expiresAtMs)) {
    return { kind: 'quota', used: 0n, held: 0n, limit, expiresAtMs, warned: 0n, seeded: false };
  }
  return counter.expiresAtMs >= expiresAtMs ? counter : { ...counter, expiresAtMs };
}

function rateOf(counter: Counter | undefined, hold: Hold & { kind: 'rate' }, nowMs: number): RateCounter {
  const { limit, burst, windowMs } = hold;
  if (!counter) return { kind: 'rate', level: 0n, atMs: nowMs, held: 0n, limit, burst, windowMs };
  if (counter.kind !== 'rate') throw new RangeError(`a ${counter.kind} counter as rate`);
  if (counter.windowMs !== windowMs) throw new RangeError(`a window of ${counter.windowMs} ms as ${windowMs} ms`);
  return counter;
}

/** The level at an instant, leaked by `limit` per window since it was right. */
function leaked(bucket: RateCounter, limit: bigint, nowMs: number): bigint {
  if (bucket.level === 0n || nowMs <= bucket.atMs) return bucket.level;
  return less(bucket.level, limit * BigInt(nowMs - bucket.atMs));
}

/** Whole units of a level, rounded up: never less than what really counts. */
function unitsOf(level: bigint, windowMs: number): bigint {
  return level === 0n ? 0n : ceilDivide(level, BigInt(windowMs));
}

function ceilDivide(a: bigint, b: bigint): bigint {
  return (a + b - 1n) / b;
}

function less(from: bigint, amount: bigint): bigint {
  return amount >= from ? 0n : from - amount;
}

export function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
