import type { KeyPolicy, LimitDimension, LimitPolicy } from '#core/key-policy.ts';
import { modelAllowed, WINDOW_MS } from '#core/key-policy.ts';
import { min } from './counter.ts';
import { COUNTER_MAX, type Hold, type Reservation, type Series } from './counters.ts';
import { type ActualUse, type Measure, measureOf, type WorstUse } from './measure.ts';
import { type CountedPeriod, countedPeriod, isWindow, SESSION_ASKED_MS } from './periods.ts';

/** From the limits of a key to the holds of a call, and to what they are settled with. */

/** What limits tell calls apart by. */
export interface CallScope {
  /** As the caller names it. */
  readonly model: string;
  readonly user: string | null;
  readonly session: string | null;
  readonly labels: Readonly<Record<string, string>>;
}

/** The limits that a call comes under, and one hold for each of them. */
export interface Bound {
  readonly limits: readonly LimitPolicy[];
  readonly holds: readonly Hold[];
}

/** Of whom and what a series counts: for those who ask billing what it has used. */
export interface SeriesOrigin {
  readonly limit: LimitPolicy;
  readonly key: string;
  /** Of the limit's dimension: null for calls that name none, undefined where the limit has none. */
  readonly value: string | null | undefined;
}

const origins = new WeakMap<Series, SeriesOrigin>();

export function originOf(series: Series): SeriesOrigin | undefined {
  return origins.get(series);
}

/**
 * The call counts in the period of its admission. Throws `unpriced_model` where a budget cannot hold it. `seeded`: there
 * is somebody who can say what a quota has used, so counts that are not known are not trusted.
 */
export function holdsFor(policy: KeyPolicy, scope: CallScope, worst: WorstUse, atMs: number, seeded = false): Bound {
  const rules = ruledBy(policy);
  const holds: Hold[] = [];
  let limits: LimitPolicy[] | undefined;
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i] as Rule;
    if (rule.isFor && !rule.isFor(scope)) {
      limits ??= policy.limits.slice(0, i);
      continue;
    }
    limits?.push(rule.limit);
    holds.push(rule.hold(scope, worst, atMs, seeded));
  }
  return { limits: limits ?? policy.limits, holds };
}

/** What each hold of a reservation is settled with, in its order. What is not known leaves the worst case charged. */
export function usedOf(
  limits: readonly LimitPolicy[],
  { holds }: Pick<Reservation, 'holds'>,
  use: ActualUse,
): bigint[] {
  return holds.map((hold, i) => measured(limits[i] as LimitPolicy).used(use) ?? hold.amount);
}

/** The counter of a quota at an instant, and its series: for those who seed it. `value` is that of the limit's dimension. */
export function quotaCounter(
  limit: LimitPolicy,
  key: string,
  value: string | null,
  atMs: number,
): { counter: string; series: string; period: CountedPeriod } {
  if (limit.per === null || isWindow(limit.per)) throw new RangeError(`limit ${limit.id} counts no period`);
  const series = seriesName(limit, key);
  const period = countedPeriod(limit.per, atMs, limit.timezone);
  return { counter: counterName(series, dimensionOf(limit) ? value : undefined, period.name), series, period };
}

/** What of a call a limit counts by itself; undefined where it counts all together. */
export function dimensionOf(limit: LimitPolicy): LimitDimension | undefined {
  return limit.per === 'session' ? 'session' : limit.by;
}

export function dimensionValue(dimension: LimitDimension, scope: CallScope): string | null {
  if (dimension === 'user') return scope.user;
  if (dimension === 'session') return scope.session;
  if (dimension === 'model') return scope.model;
  return scope.labels[dimension.slice('label:'.length)] ?? null;
}

export function amountInForce(limit: LimitPolicy, atMs: number): bigint {
  return BigInt(limit.override && atMs < limit.override.untilMs ? limit.override.amount : limit.amount);
}

interface Rule {
  readonly limit: LimitPolicy;
  /** Undefined where every call comes under it. */
  readonly isFor: ((scope: CallScope) => boolean) | undefined;
  readonly hold: (scope: CallScope, worst: WorstUse, atMs: number, seeded: boolean) => Hold;
}

/** Policies are immutable and live long: what can be worked out of one is worked out once. */
const rules = new WeakMap<KeyPolicy, readonly Rule[]>();
const measures = new WeakMap<LimitPolicy, Measure>();

function ruledBy(policy: KeyPolicy): readonly Rule[] {
  let found = rules.get(policy);
  if (!found) {
    found = policy.limits.map((limit) => ({
      limit,
      isFor: filterOf(limit),
      hold: ruleOf(limit, policy.key),
    }));
    rules.set(policy, found);
  }
  return found;
}

function measured(limit: LimitPolicy): Measure {
  let found = measures.get(limit);
  if (!found) {
    found = measureOf(limit);
    measures.set(limit, found);
  }
  return found;
}

function filterOf({ per, models = [], labels = {} }: LimitPolicy): Rule['isFor'] {
  const wanted = Object.entries(labels);
  const perSession = per === 'session';
  if (models.length === 0 && wanted.length === 0 && !perSession) return undefined;
  return (scope) =>
    // What counts sessions has nothing to say of a call that belongs to none.
    !(perSession && scope.session === null) &&
    modelAllowed(models, scope.model) &&
    wanted.every(([name, value]) => scope.labels[name] === value);
}

function ruleOf(limit: LimitPolicy, key: string): Rule['hold'] {
  const series = seriesName(limit, key);
  const dimension = dimensionOf(limit);
  const measure = measured(limit);
  const soft = limit.mode !== undefined;
  const lastOverridden = limit.override?.untilMs ?? 0;
  const usual = amounts(limit, lastOverridden);
  const overridden = limit.override ? amounts(limit, 0) : usual;
  let lastPeriod = '';
  let lastName = counterName(series, undefined, '');
  // One text for each period where the limit counts all together.
  const nameOf = (scope: CallScope, period: string): string => {
    if (dimension) return counterName(series, dimensionValue(dimension, scope), period);
    if (period !== lastPeriod) {
      lastPeriod = period;
      lastName = counterName(series, undefined, period);
    }
    return lastName;
  };
  // What a client may ask for has no end; what is above every limit is refused all the same.
  const worstOf = (scope: CallScope, worst: WorstUse) => min(measure.worst(worst, scope.model), COUNTER_MAX);
  const inForce = (atMs: number) => (atMs < lastOverridden ? overridden : usual);
  const seriesFor = seriesOf(limit, key);
  const { per } = limit;

  if (per === null) {
    return (scope, _, atMs) => {
      const hold: Hold = { kind: 'concurrency', counter: nameOf(scope, ''), amount: 1n, limit: inForce(atMs).limit };
      if (soft) hold.soft = true;
      return hold;
    };
  }
  if (isWindow(per)) {
    const counted = limit.kind === 'requests' ? 'admission' : 'settlement';
    const windowMs = WINDOW_MS[per];
    return (scope, worst, atMs) => {
      const { limit: most, burst } = inForce(atMs);
      const amount = worstOf(scope, worst);
      const hold: Hold = { kind: 'rate', counter: nameOf(scope, ''), amount, limit: most, burst, windowMs, counted };
      if (soft) hold.soft = true;
      return hold;
    };
  }
  return (scope, worst, atMs, seeded) => {
    const { name, expiresAtMs } = countedPeriod(per, atMs, limit.timezone);
    const { limit: most, warnAt } = inForce(atMs);
    const amount = worstOf(scope, worst);
    const hold: Hold = { kind: 'quota', counter: nameOf(scope, name), amount, limit: most, expiresAtMs };
    if (soft) hold.soft = true;
    if (warnAt.length > 0) {
      hold.warnAt = warnAt;
      if (limit.currency !== null) hold.currency = limit.currency;
    }
    if (seeded) hold.series = seriesFor(scope, atMs);
    return hold;
  };
}

/** One object for each period where the limit counts all together: most calls make none. */
function seriesOf(limit: LimitPolicy, key: string): (scope: CallScope, atMs: number) => Series {
  const name = seriesName(limit, key);
  const dimension = dimensionOf(limit);
  const { per } = limit;
  let last: Series | undefined;
  return (scope, atMs) => {
    if (per === null || isWindow(per)) throw new RangeError(`limit ${limit.id} counts no period`);
    const startMs = per === 'session' ? atMs - SESSION_ASKED_MS : countedPeriod(per, atMs, limit.timezone).startMs;
    if (!dimension && last?.startMs === startMs) return last;
    const series: Series = { name, startMs };
    origins.set(series, { limit, key, value: dimension && dimensionValue(dimension, scope) });
    if (!dimension) last = series;
    return series;
  };
}

function amounts(limit: LimitPolicy, atMs: number): { limit: bigint; burst: bigint; warnAt: readonly bigint[] } {
  const amount = amountInForce(limit, atMs);
  const warnAt = (limit.warnAt ?? []).map((percent) => (amount * BigInt(percent) + 99n) / 100n);
  return { limit: amount, burst: limit.burst === null ? amount : BigInt(limit.burst), warnAt };
}

/**
 * Stable across reloads and restarts, and different for what must not be added up: kind and window, the limit, the key
 * where each key has its own. Encoded, so that no id can look like two.
 */
function seriesName(limit: LimitPolicy, key: string): string {
  const parts = [limit.kind, ...(limit.per === null ? [] : [limit.per]), encodeURIComponent(limit.id)];
  if (limit.scope === 'key') parts.push(encodeURIComponent(key));
  return parts.join('/');
}

/** `value` is undefined where the series counts all together, null where a call names none. */
function counterName(series: string, value: string | null | undefined, period: string): string {
  const by = value === undefined ? '' : value === null ? '/-' : `/=${encodeURIComponent(value.toWellFormed())}`;
  return period === '' ? series + by : `${series}${by}/${period}`;
}
