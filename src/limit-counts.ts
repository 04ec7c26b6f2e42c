import type { KeyPolicy } from '#core/key-policy.ts';
import type { Hold, Reservation, Seed } from '#proxy/limits/counters.ts';
import { isWindow, SESSION_QUIET_MS } from '#proxy/limits/periods.ts';
import { dimensionOf, originOf, quotaCounter, type SeriesOrigin } from '#proxy/limits/policy.ts';

/** What a counter of a period counts: all that it takes to ask billing for it. */
export interface Count {
  /** The counter, whosever it is. */
  name: string;
  customer: string;
  seed: Omit<Seed, 'used'>;
  sinceMs: number;
  origin: SeriesOrigin;
}

type Quota = Hold & { kind: 'quota' };

export function countOf({ customer, holds, atMs }: Reservation, place: number): Count[] {
  const { counter, expiresAtMs, series } = holds[place] as Quota;
  const origin = series && originOf(series);
  if (!origin) return [];
  return [
    {
      name: nameOf(customer, counter),
      customer,
      seed: { counter, expiresAtMs, series },
      sinceMs: origin.limit.per === 'session' ? atMs - SESSION_QUIET_MS : series.startMs,
      origin,
    },
  ];
}

/** By series: the present counters of what a policy counts in periods, all of its calls together. */
export function countsOf({ customer, key, limits }: KeyPolicy, atMs: number): Map<string, Count> {
  const found = new Map<string, Count>();
  for (const limit of limits) {
    if (limit.per === null || isWindow(limit.per) || dimensionOf(limit)) continue;
    const { counter, series, period } = quotaCounter(limit, key, null, atMs);
    found.set(series, {
      name: nameOf(customer, counter),
      customer,
      seed: { counter, expiresAtMs: period.expiresAtMs, series: { name: series, startMs: period.startMs } },
      sinceMs: period.startMs,
      origin: { limit, key, value: undefined },
    });
  }
  return found;
}

export function nameOf(customer: string, part: string): string {
  return JSON.stringify([customer, part]);
}

export function isOfValue({ origin }: Count): boolean {
  return origin.value !== undefined;
}
