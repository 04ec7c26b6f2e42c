import { createHash } from 'node:crypto';
import type { Database } from '#billing/db/database.ts';
import { parseExactObject } from '#billing/event-formats/exact-json.ts';
import { parseEvent } from '#billing/events/event.ts';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { take } from '#billing/events/ingest.ts';
import { add, type Exact, formatExact, getExact, ZERO } from '#core/exact.ts';
import type { MoneyJson } from '#core/money.ts';
import type { PriceBook } from '#core/price.ts';
import { formatInstant } from '#core/time.ts';
import { costOfData, fieldsOf, textOf, withCost } from './event-cost.ts';
import { type CostedFilter, type CostedRow, selectCosted } from './store.ts';

/**
 * Costs what was used anew, by the prices as they are known today for the instant of each call: what had none when it
 * was used, or what a corrected price list costed before. An event is never overwritten: a correction stands in its
 * place, which names the cost and the state of the prices that it had first.
 */
export interface Recosting {
  priceBook: string;
  examined: number;
  /** Events whose cost is another now. */
  recosted: number;
  /** Costed as before. */
  unchanged: number;
  /** Still without a price. */
  unknown: number;
  /** Of those that were recosted, by currency. */
  changes: { currency: string; before: string; after: string }[];
  /** The last that was looked at, where there may be more. */
  last: CostedRow | undefined;
}

export type RecostQuestion = Omit<CostedFilter, 'version'>;

/** `dryRun`: says what would come of it, and changes nothing. */
export async function recost(
  tx: Database,
  book: PriceBook,
  question: RecostQuestion & { dryRun: boolean },
  nowMs: number,
): Promise<Recosting> {
  const rows = await selectCosted(tx, { ...question, version: book.version });
  const sums = new Map<string, { before: Exact; after: Exact }>();
  const corrections: object[] = [];
  let unknown = 0;
  for (const row of rows) {
    const found = recostOne(book, row);
    if (!found.cost) unknown++;
    else if (!isSame(found.before, found.cost)) {
      corrections.push(correctionOf(row, found.body, book.version));
      addTo(sums, 'before', found.before);
      addTo(sums, 'after', found.cost);
    }
  }
  if (!question.dryRun && corrections.length > 0) {
    const results = await take(
      tx,
      corrections.map((value) => parseEvent(value, nowMs)),
      nowMs,
    );
    const wrong = results.find(({ status }) => status !== 'accepted' && status !== 'duplicate');
    if (wrong) throw new Error(`the new cost of an event was not taken: ${JSON.stringify(wrong)}`);
  }
  return {
    priceBook: book.version,
    examined: rows.length,
    recosted: corrections.length,
    unchanged: rows.length - corrections.length - unknown,
    unknown,
    changes: [...sums].map(([currency, { before, after }]) => ({
      ...{ currency, before: formatExact(before), after: formatExact(after) },
    })),
    last: rows.length === question.limit ? rows.at(-1) : undefined,
  };
}

interface Recosted {
  before: MoneyJson | null;
  /** Null where it is still not known. */
  cost: MoneyJson | null;
  /** The whole event with it. */
  body: Record<string, unknown>;
}

function recostOne(book: PriceBook, row: CostedRow): Recosted {
  const event = parseExactObject(row.body);
  const data = fieldsOf(event.data);
  const before = moneyOf(data.cost);
  // A call that nobody could read was marked by the calls themselves, which no list prices.
  const isUnread = Array.isArray(data.unpriced) && data.unpriced.includes('calls');
  const cost = isUnread ? undefined : costOfData(book, { customer: row.customer, timeMs: row.time }, data);
  if (!cost) return { before, cost: null, body: event };
  // What it cost first, however often it is costed anew.
  const first = data.cost_before ?? { cost: before, price_book: textOf(data.price_book) };
  const costed = { ...withCost(data, cost, book.version), cost_before: first };
  return { before, cost: cost.json, body: { ...event, ...placeOf(row, event), data: costed } };
}

/** It stays where it stands: the customer may have been found by its key, and the instant is when it came where it has none. */
function placeOf(row: CostedRow, event: Record<string, unknown>): { subject?: string; time: unknown } {
  return { ...(row.customer === '' ? {} : { subject: row.customer }), time: event.time ?? formatInstant(row.time) };
}

const SOURCE = '/weir/recosting';

/**
 * It stands at the instant of what it costs anew, and by its id behind all else there: a correction that is still under
 * way from the source, whose time is later, replaces it.
 */
function correctionOf(row: CostedRow, body: object, version: string): object {
  const hash = createHash('sha256').update(`${version} ${row.source} ${row.id} ${row.body}`).digest('hex');
  return {
    specversion: '1.0',
    id: `~${row.revision.toString().padStart(10, '0')}.${hash}`,
    source: SOURCE,
    type: CORRECTION_TYPE,
    time: formatInstant(row.decided_at ?? row.time),
    data: { source: row.source, id: row.id, reason: `Costed anew by the prices ${version}`, event: body },
  };
}

function moneyOf(value: unknown): MoneyJson | null {
  const { amount, currency } = fieldsOf(value);
  return typeof amount === 'string' && typeof currency === 'string' ? { amount, currency } : null;
}

function isSame(a: MoneyJson | null, b: MoneyJson): boolean {
  return a !== null && a.currency === b.currency && formatExact(getExact(a.amount)) === formatExact(getExact(b.amount));
}

function addTo(sums: Map<string, { before: Exact; after: Exact }>, which: 'before' | 'after', cost: MoneyJson | null) {
  if (!cost) return;
  const sum = sums.get(cost.currency) ?? { before: ZERO, after: ZERO };
  sum[which] = add(sum[which], getExact(cost.amount));
  sums.set(cost.currency, sum);
}
