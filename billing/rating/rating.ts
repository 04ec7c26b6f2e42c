import { add, compare, type Exact, formatExact, getExact, multiply, ONE, subtract, sum, ZERO } from '#core/exact.ts';
import { matchesPattern } from '#core/key-policy.ts';
import { addMoney, formatAmount, type Money, money, roundToCurrency } from '#core/money.ts';
import { FREE_UNLESS_PRICED } from '#core/price.ts';
import type { Policies } from './policies.ts';
import { type ChargePrice, priceSteps } from './price.ts';
import type { Step } from './step.ts';

/**
 * Rating is a pure function with one chain of callers: the live usage page and the invoice both go through `rate` and
 * `documentOf`, so that what was shown is what is billed. Order: pool the quantity of a charge, take off its allowance,
 * price it, round the line. Amounts stay exact until the line is rounded, once.
 */

/** What a period is rated by: one version of a plan. */
export interface Terms {
  readonly currency: string;
  /** The recurring fee per whole interval. */
  readonly feeNanos: bigint | null;
  /** In order: a unit of a model belongs to the first charge that matches, so nothing is charged twice. */
  readonly charges: readonly Charge[];
}

export interface Charge {
  /** The price's id: it names one price of one version of a plan for ever. */
  readonly price_id: string;
  readonly meter: string;
  readonly unit: string;
  /** Pattern over the model asked for. */
  readonly model: string;
  /** Free quantity per period, taken off before the price applies. */
  readonly allowance: string;
  readonly price: ChargePrice;
}

export interface UsageQuantity {
  readonly model: string;
  readonly unit: string;
  readonly quantity: Exact;
}

/** A line before rounding. */
export interface RatedLine {
  readonly kind: 'fee' | 'usage';
  /** Null for the fee. */
  readonly charge: Charge | null;
  /** All that was used; for the fee the share of the interval that is billed. */
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

export function rate(terms: Terms, usage: readonly UsageQuantity[], feeShare: Exact, policies: Policies): Rating {
  const pooled = new Map<Charge, Map<string, Exact>>();
  const unrated = new Map<string, UsageQuantity>();
  for (const row of usage) {
    if (row.quantity.num === 0n) continue;
    const charge = findCharge(terms.charges, row);
    if (charge) {
      const models = pooled.get(charge) ?? new Map<string, Exact>();
      models.set(row.model, add(models.get(row.model) ?? ZERO, row.quantity));
      pooled.set(charge, models);
    } else if (!FREE_UNLESS_PRICED.has(row.unit)) {
      const key = JSON.stringify([row.unit, row.model]);
      unrated.set(key, { ...row, quantity: add(unrated.get(key)?.quantity ?? ZERO, row.quantity) });
    }
  }

  const lines: RatedLine[] = [];
  if (terms.feeNanos !== null) lines.push(rateFee({ nanos: terms.feeNanos, currency: terms.currency }, feeShare));
  for (const charge of terms.charges) {
    const models = pooled.get(charge);
    if (models || policies.zero_usage === 'bill') lines.push(rateCharge(charge, models ?? new Map()));
  }
  return { lines, unrated: [...unrated.values()] };
}

export function findCharge(charges: readonly Charge[], row: { model: string; unit: string }): Charge | undefined {
  return charges.find((charge) => charge.unit === row.unit && matchesPattern(charge.model, row.model));
}

function rateCharge(charge: Charge, models: ReadonlyMap<string, Exact>): RatedLine {
  const quantity = sum(models.values());
  const allowance = getExact(charge.allowance);
  const free = compare(quantity, allowance) < 0 ? quantity : allowance;
  const steps: Step[] = [];
  if (free.num > 0n) steps.push({ formula: `allowance: ${formatExact(free)} free`, quantity: free, amount: ZERO });
  // What the allowance covers in full is no zero usage that would bill the flat part of a first tier.
  const billable = subtract(quantity, free);
  if (billable.num > 0n || quantity.num === 0n) steps.push(...priceSteps(charge.price, billable));
  const amount = sum(steps.map((step) => step.amount));
  return {
    kind: 'usage',
    charge,
    quantity,
    models: [...models].map(([model, part]) => ({ model, quantity: part, amount: shareOf(amount, part, quantity) })),
    amount,
    steps,
  };
}

function rateFee(fee: Money, share: Exact): RatedLine {
  const amount = multiply({ num: fee.nanos, den: 1n }, share);
  const whole = formatAmount(fee);
  const formula = compare(share, ONE) === 0 ? whole : `${whole} x ${share.num}/${share.den}`;
  return {
    kind: 'fee',
    charge: null,
    quantity: share,
    models: [],
    amount,
    steps: [{ formula, quantity: share, amount }],
  };
}

function shareOf(amount: Exact, part: Exact, whole: Exact): Exact {
  return multiply(amount, { num: part.num * whole.den, den: part.den * whole.num });
}

/** A line as it is printed: rounded once. */
export interface DocumentLine extends RatedLine {
  readonly rounded: Money;
}

/** A document's lines and their sum. A fee that rounds to nothing gives no line; usage always shows. */
export function documentOf(
  rating: Rating,
  currency: string,
  policies: Policies,
): { lines: DocumentLine[]; total: Money } {
  const lines = rating.lines
    .map((line) => ({ ...line, rounded: roundToCurrency(line.amount, currency, policies.rounding) }))
    .filter((line) => line.kind === 'usage' || line.rounded.nanos !== 0n);
  return { lines, total: lines.reduce((total, line) => addMoney(total, line.rounded), money(0n, currency)) };
}
