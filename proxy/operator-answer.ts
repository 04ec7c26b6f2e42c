import { Fault } from '#core/fault.ts';
import { formatInstant } from '#core/time.ts';
import { getSecret } from './caller.ts';
import type { Call } from './inbound/call.ts';
import type { CounterBook, MaybePromise } from './limits/counters.ts';
import type { Match } from './routes.ts';

export interface OperatorParts {
  counters: Pick<CounterBook, 'listLive' | 'listDebts'>;
  hash: (secret: string) => MaybePromise<string>;
  operatorHash?: string;
}

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
export async function operatorAnswer(
  call: Call,
  { params }: Match,
  { counters: book, hash, operatorHash }: OperatorParts,
): Promise<object> {
  if (operatorHash === undefined) throw new Fault('route_not_found');
  if ((await hash(getSecret(call))) !== operatorHash) throw new Fault('invalid_key');
  return holdingsOf(decodeSegment(params.customer ?? ''), call.query, book);
}

async function holdingsOf(customer: string, query: string, book: OperatorParts['counters']): Promise<object> {
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
