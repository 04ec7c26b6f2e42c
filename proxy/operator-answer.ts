import { Fault } from '#core/fault.ts';
import { formatInstant } from '#core/time.ts';
import type { CounterBook } from './limits/counters.ts';

const MAX = 200;

/** A name of a path; one that is not encoded right is nobody's. */
function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Fault('route_not_found');
  }
}

/**
 * `GET /operator/limits/{customer}`: what a customer's calls in flight hold, and which counters have used more than
 * their limit. A page of each; `next` and `next_debt` are given back as `after` and `after_debt`.
 */
export async function holdingsAnswer(
  segment: string,
  query: string,
  book: Pick<CounterBook, 'listLive' | 'listDebts'>,
): Promise<object> {
  const customer = decodeSegment(segment);
  const given = new URLSearchParams(query);
  const [, untilMs, id = ''] = /^(\d{1,15}):(.+)$/.exec(given.get('after') ?? '') ?? [];
  const place = untilMs === undefined ? null : { untilMs: Number(untilMs), id };
  const [live, debts] = await Promise.all([
    book.listLive(customer, place, MAX),
    book.listDebts(customer, given.get('after_debt') ?? '', MAX),
  ]);
  const last = live.length === MAX ? live.at(-1) : undefined;
  return {
    customer,
    reservations: live.map((one) => ({
      id: one.id,
      lease_ends_at: formatInstant(one.untilMs),
      holds: one.holds.map(({ counter, amount }) => ({ counter, amount: amount.toString() })),
    })),
    next: last ? `${last.untilMs}:${last.id}` : null,
    debts: debts.map(({ counter, limit, used }) => ({
      counter,
      limit: limit.toString(),
      used: used.toString(),
      over: (used - limit).toString(),
    })),
    next_debt: debts.length === MAX ? (debts.at(-1)?.counter ?? null) : null,
  };
}
