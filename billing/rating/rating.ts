import { add, type Exact, multiply, ONE, sum, ZERO } from '#core/exact.ts';
import { matchesPattern } from '#core/key-policy.ts';
import { addMoney, formatAmount, type Money, money, roundToCurrency } from '#core/money.ts';
import { FREE_UNLESS_PRICED } from '#core/price.ts';
import { amountOf, type Charge, chargeSteps, cutFor, flatSteps, pricesIn, type Span } from './charge.ts';
import { factorOf } from './nanos.ts';
import type { Policies } from './policies.ts';
import { pricesPart } from './price.ts';
import type { Step } from './step.ts';
import { pooledPart, type UsagePart } from './usage-part.ts';

/**
 * Rating is a pure function with one chain of callers: the live usage page and the invoice both go through `rate` and
 * `documentOf`, so that what was shown is what is billed. Order: give each unit of a model to its charge, rate the
 * charge (charge.ts), round the line. Amounts stay exact until the line is rounded, once.
 */

/** What a period is rated by: one version of a plan. */
export interface Terms {
  readonly currency: string;
  /** The recurring fee per whole interval. */
  readonly feeNanos: bigint | null;
  /** In order: a unit of a model belongs to the first charge that matches, so nothing is charged twice. */
  readonly charges: readonly Charge[];
}

export interface UsageQuantity {
  readonly model: string;
  readonly unit: string;
  readonly quantity: Exact;
}

/** A line before rounding. */
export interface RatedLine {
  readonly kind: 'fee' | 'usage';
  /** Null for the fee of the plan. */
  readonly charge: Charge | null;
  /** All that was used; for a fee the share of the interval that is billed. */
  readonly quantity: Exact;
  /** What the quantity consists of. Shares of the amount are in proportion to quantity, so they add up to the line. */
  readonly models: readonly { readonly model: string; readonly quantity: Exact; readonly amount: Exact }[];
  /** Exact nanos. */
  readonly amount: Exact;
  readonly steps: readonly Step[];
}

export interface Rating {
  readonly lines: readonly RatedLine[];
  /** Usage that no charge of the plan covers: reported, never dropped and never free by accident. */
  readonly unrated: readonly UsageQuantity[];
}

/** Usage by the charge that it belongs to, by model. */
export interface Assigned {
  readonly byCharge: ReadonlyMap<Charge, ReadonlyMap<string, Exact>>;
  readonly unrated: readonly UsageQuantity[];
}

export function assign(charges: readonly Charge[], usage: readonly UsageQuantity[]): Assigned {
  const byCharge = new Map<Charge, Map<string, Exact>>();
  const unrated: UsageQuantity[] = [];
  for (const row of usage) {
    if (row.quantity.num === 0n) continue;
    const charge = findCharge(charges, row);
    if (charge) {
      const models = byCharge.get(charge) ?? new Map<string, Exact>();
      models.set(row.model, add(models.get(row.model) ?? ZERO, row.quantity));
      byCharge.set(charge, models);
    } else if (!FREE_UNLESS_PRICED.has(row.unit)) unrated.push(row);
  }
  return { byCharge, unrated };
}

export function findCharge(charges: readonly Charge[], row: { model: string; unit: string }): Charge | undefined {
  return charges.find((charge) => charge.unit === row.unit && matchesPattern(charge.model, row.model));
}

/** `parts` holds what was read more finely, for the charges whose price looks at more than the sum (`cutFor`). */
export function rate(
  terms: Terms,
  { byCharge, unrated }: Assigned,
  span: Span,
  policies: Pick<Policies, 'zero_usage'>,
  parts: ReadonlyMap<Charge, readonly UsagePart[]> = new Map(),
): Rating {
  const lines: RatedLine[] = [];
  const left = [...unrated];
  if (terms.feeNanos !== null) lines.push(feeLine({ nanos: terms.feeNanos, currency: terms.currency }, span.share));
  for (const charge of terms.charges) {
    if (charge.price.kind === 'flat') {
      const once = charge.price.billed === 'once';
      if (!once || span.first) lines.push(flatLine(charge, charge.price.amount, once ? ONE : span.share));
      continue;
    }
    const used = parts.get(charge) ?? pooledParts(charge, byCharge.get(charge), span);
    const refuses = priceRefuses(charge, span);
    const rated: UsagePart[] = [];
    for (const part of used) {
      if (refuses(part)) left.push({ model: part.model, unit: charge.unit ?? '', quantity: part.quantity });
      else rated.push(part);
    }
    if (rated.length > 0 || policies.zero_usage === 'bill' || charge.minimum !== null) {
      lines.push(usageLine(charge, rated, span, policies.zero_usage === 'bill'));
    }
  }
  return { lines, unrated: pooledByModel(left) };
}

function pooledParts(charge: Charge, models: ReadonlyMap<string, Exact> | undefined, span: Span): UsagePart[] {
  if (!models) return [];
  if (cutFor(charge, span)) throw new Error(`the usage of price ${charge.price_id} was not read as finely as it needs`);
  return [...models].map(([model, quantity]) => pooledPart(model, quantity));
}

/** Whether the price that holds for a part has no amount for it: it is reported then, and billed by nothing. */
export function priceRefuses(charge: Charge, span: Span): (part: UsagePart) => boolean {
  const { prices } = pricesIn(charge, span);
  const names = cutFor(charge, span)?.dimensions ?? [];
  return (part) => !pricesPart(prices[part.segment] ?? prices[0], names, part);
}

function usageLine(charge: Charge, parts: readonly UsagePart[], span: Span, billsNothing: boolean): RatedLine {
  const models = new Map<string, Exact>();
  for (const { model, quantity } of parts) models.set(model, add(models.get(model) ?? ZERO, quantity));
  const quantity = sum(models.values());
  const steps = chargeSteps(charge, parts, span, billsNothing);
  const amount = amountOf(steps);
  const shares = [...models].map(([model, part]) => ({
    model,
    quantity: part,
    amount: shareOf(amount, part, quantity),
  }));
  return { kind: 'usage', charge, quantity, models: shares, amount, steps };
}

function feeLine(fee: Money, share: Exact): RatedLine {
  const steps = flatSteps(formatAmount(fee), share);
  return { kind: 'fee', charge: null, quantity: share, models: [], amount: amountOf(steps), steps };
}

function flatLine(charge: Charge, amount: string, share: Exact): RatedLine {
  const steps = flatSteps(amount, share);
  return { kind: 'fee', charge, quantity: share, models: [], amount: amountOf(steps), steps };
}

function shareOf(amount: Exact, part: Exact, whole: Exact): Exact {
  if (whole.num === 0n) return ZERO;
  if (part.num === whole.num && part.den === whole.den) return amount;
  return multiply(amount, { num: part.num * whole.den, den: part.den * whole.num });
}

function pooledByModel(rows: readonly UsageQuantity[]): UsageQuantity[] {
  const pooled = new Map<string, UsageQuantity>();
  for (const row of rows) {
    const key = JSON.stringify([row.unit, row.model]);
    pooled.set(key, { ...row, quantity: add(pooled.get(key)?.quantity ?? ZERO, row.quantity) });
  }
  return [...pooled.values()];
}

/** A line as it is printed: rounded once. */
export interface DocumentLine extends RatedLine {
  readonly rounded: Money;
}

/** What is owed beside the lines, by what they come to as they are printed. */
export function taxOn(net: Money, { tax_percent, rounding }: Pick<Policies, 'tax_percent' | 'rounding'>): Money {
  return roundToCurrency(multiply({ num: net.nanos, den: 1n }, factorOf(tax_percent)), net.currency, rounding);
}

/** A document's lines and their sum. A fee that rounds to nothing gives no line; usage always shows. */
export function documentOf(
  rating: Pick<Rating, 'lines'>,
  currency: string,
  policies: Pick<Policies, 'rounding'>,
): { lines: DocumentLine[]; total: Money } {
  const lines = rating.lines
    .map((line) => ({ ...line, rounded: roundToCurrency(line.amount, currency, policies.rounding) }))
    .filter((line) => line.kind === 'usage' || line.rounded.nanos !== 0n);
  return { lines, total: lines.reduce((total, line) => addMoney(total, line.rounded), money(0n, currency)) };
}
