import { createHash } from 'node:crypto';
import type { Database } from '#billing/db/database.ts';
import { parseExactObject } from '#billing/event-formats/exact-json.ts';
import { parseEvent } from '#billing/events/event.ts';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { take } from '#billing/events/ingest.ts';
import { type CallCost, type CallFacts, costOfCallBy, type PartUsed } from '#core/call-cost.ts';
import { add, type Exact, formatExact, getExact, ZERO } from '#core/exact.ts';
import type { MoneyJson } from '#core/money.ts';
import type { PriceBook } from '#core/price.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import { formatInstant } from '#core/time.ts';
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
  const counts = countsOf(data.quantities);
  const parts = Array.isArray(data.parts) ? data.parts.map((part) => partOf(part, data.model)) : null;
  // A call that nobody could read was marked by the calls themselves, which no list prices.
  const isUnread = Array.isArray(data.unpriced) && data.unpriced.includes('calls');
  const isWhole = counts !== undefined && (parts?.every((part) => part !== undefined) ?? true);
  if (!isWhole || isUnread) return { before, cost: null, body: event };
  const used = parts?.flatMap((part) => part ?? []) ?? null;
  const cost = costOfCallBy(book, factsOf(row, data), counts, used);
  const body = { ...event, ...placeOf(row, event), data: recostedData(data, before, cost, book.version) };
  return { before, cost: cost.json, body };
}

/** It stays where it stands: the customer may have been found by its key, and the instant is when it came where it has none. */
function placeOf(row: CostedRow, event: Record<string, unknown>): { subject?: string; time: unknown } {
  return { ...(row.customer === '' ? {} : { subject: row.customer }), time: event.time ?? formatInstant(row.time) };
}

function factsOf(row: CostedRow, data: Fields): CallFacts {
  const model = textOf(data.model) ?? '';
  return {
    provider: textOf(data.provider),
    upstream: textOf(data.upstream) ?? '',
    customer: row.customer,
    modelSent: textOf(data.model_sent) ?? model,
    modelServed: textOf(data.model_served),
    service: { tier: textOf(data.service_tier), region: textOf(data.region), variant: textOf(data.variant) },
    atMs: row.time,
  };
}

function recostedData(data: Fields, before: MoneyJson | null, cost: CallCost, version: string): object {
  const first = { cost: before, price_book: textOf(data.price_book) };
  return {
    ...data,
    cost: cost.json,
    price_book: version,
    unpriced: cost.unpriced,
    ...(Array.isArray(data.parts) && {
      parts: data.parts.map((part, i) => ({ ...fieldsOf(part), cost: cost.parts?.[i] ?? null })),
    }),
    // What it cost first, however often it is costed anew.
    cost_before: data.cost_before ?? first,
  };
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

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function moneyOf(value: unknown): MoneyJson | null {
  const { amount, currency } = fieldsOf(value);
  return typeof amount === 'string' && typeof currency === 'string' ? { amount, currency } : null;
}

/** A part of the model that was asked for is one of the model that answered. */
function partOf(value: unknown, asked: unknown): PartUsed | undefined {
  const { model, quantities } = fieldsOf(value);
  const counts = countsOf(quantities);
  return counts && { model: model === asked ? null : textOf(model), counts };
}

/** Whole quantities, as gateways count; undefined for others, which have no cost at a provider. */
function countsOf(quantities: unknown): Counts | undefined {
  const counts: Partial<Record<Unit, bigint>> = {};
  for (const [unit, text] of Object.entries(fieldsOf(quantities))) {
    if (typeof text !== 'string') return undefined;
    const { num, den } = getExact(text);
    if (den !== 1n) return undefined;
    counts[unit as Unit] = num;
  }
  return counts;
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
