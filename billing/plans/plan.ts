import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Database } from '#billing/db/database.ts';
import { findMeterById, findMeterOfUnit, type Meter, pinMeters } from '#billing/meters/meter.ts';
import { cutOf } from '#billing/rating/price.ts';
import type { Terms } from '#billing/rating/rating.ts';
import {
  CHARGES_MAX,
  type ChargeTerms,
  canFollow,
  carriedTwice,
  chargeTerms,
  type PriceChange,
} from '#config/charge-terms.ts';
import type { PlanConfig } from '#config/config.ts';
import { amountText } from '#config/decimal-text.ts';
import { isUnitMeter } from '#config/meter-terms.ts';
import { hides } from '#config/schema-parts.ts';
import { canonicalJson } from '#core/canonical-json.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import { formatAmount, isCurrency, parseMoney } from '#core/money.ts';
import { parseInstant } from '#core/time.ts';
import {
  findPlan,
  findPlanAt,
  findPrice,
  insertPlan,
  insertPlanVersion,
  insertPriceChange,
  insertPrices,
  listPlansOfConfig,
  listPrices,
  lockPlan,
  type PlanRow,
  type PriceRow,
  type StoredPrice,
  updatePlanManager,
  updatePlanRemoved,
} from './store.ts';

/**
 * A plan is a name for a row of versions. A change makes a new version, which the periods that open from then on are
 * billed by; a version, once made, never changes, and neither do its prices.
 */
export interface Plan extends PlanRow {
  charges: PriceRow[];
}

export const planTerms = z.strictObject({
  name: z.string().trim().min(1).max(200),
  currency: z.string().refine(isCurrency, 'Wants three capital letters (ISO 4217).'),
  interval: z.literal('month').default('month'),
  /** Recurring, per interval, billed with the usage when the period ends. */
  fee: amountText
    .refine((text) => parseMoney(text, 'USD') !== undefined, 'Wants at most nine decimals.')
    .nullable()
    .default(null),
  charges: z.array(chargeTerms).max(CHARGES_MAX).default([]),
});
export type PlanTerms = z.output<typeof planTerms>;

/** Making the same plan again is making it once. */
export async function createPlan(tx: Database, id: string, terms: PlanTerms, nowMs: number): Promise<Plan> {
  if (await insertPlan(tx, { id, currency: terms.currency, managed_by: 'api' }, nowMs)) {
    await addVersion(tx, id, 1, terms, nowMs);
    return getPlan(tx, id);
  }
  const plan = await getPlan(tx, id);
  if (plan.managed_by !== 'api' || plan.terms_hash !== hashTerms(terms)) {
    throw new Fault('already_exists', { detail: `There is a plan ${id}.` });
  }
  return plan;
}

/** Makes a new version, unless the terms are those of the latest one. */
export async function changePlan(tx: Database, id: string, terms: PlanTerms, nowMs: number): Promise<Plan> {
  await lockPlan(tx, id);
  const plan = await getPlan(tx, id);
  if (plan.managed_by === 'config') throw new Fault('managed_by_config', { detail: `Plan ${id}.` });
  return changeTo(tx, plan, terms, nowMs);
}

async function changeTo(tx: Database, plan: Plan, terms: PlanTerms, nowMs: number): Promise<Plan> {
  if (plan.currency !== terms.currency) {
    throw new Fault('state_conflict', {
      detail: `Plan ${plan.id} is in ${plan.currency}, and a plan keeps its currency: make another plan for ${terms.currency}.`,
    });
  }
  if (plan.terms_hash === hashTerms(terms) && (await readsLatest(tx, plan))) return plan;
  await addVersion(tx, plan.id, plan.version + 1, terms, nowMs);
  return getPlan(tx, plan.id);
}

/** Whether the meters of a plan are still those that its prices name: a changed meter makes a new version of the plan. */
async function readsLatest(tx: Database, plan: Plan): Promise<boolean> {
  for (const { meter, unit } of plan.charges) {
    if (meter !== null && (await findMeterById(tx, meter))?.unit !== unit) return false;
  }
  return true;
}

/**
 * Brings the plans of the configuration into the database, in the caller's transaction: new ones are made, changed ones
 * get a version, those that are gone take no new subscriptions, and the same configuration again does nothing. A plan
 * that was made through the API and is now in the configuration belongs to it. Answers what changed.
 */
export async function applyPlans(
  tx: Database,
  configs: readonly PlanConfig[],
  nowMs: number,
): Promise<{ id: string; version: number }[]> {
  const changed: { id: string; version: number }[] = [];
  for (const config of configs) {
    const terms = termsOfConfig(config);
    if (await insertPlan(tx, { id: config.id, currency: config.currency, managed_by: 'config' }, nowMs)) {
      await addVersion(tx, config.id, 1, terms, nowMs);
      changed.push({ id: config.id, version: 1 });
      continue;
    }
    await lockPlan(tx, config.id);
    const before = await getPlan(tx, config.id);
    await updatePlanManager(tx, config.id, 'config');
    const after = await changeTo(tx, before, terms, nowMs);
    if (after.version !== before.version) changed.push({ id: after.id, version: after.version });
  }
  const kept = new Set(configs.map((config) => config.id));
  for (const id of await listPlansOfConfig(tx)) if (!kept.has(id)) await updatePlanRemoved(tx, id, nowMs);
  return changed;
}

function termsOfConfig(config: PlanConfig): PlanTerms {
  return planTerms.parse({
    name: config.name,
    currency: config.currency,
    interval: config.interval,
    fee: config.fee,
    charges: [
      ...config.prices.map(({ unit, model, amount, per }) => ({
        meter: unit,
        model,
        price: { kind: 'unit', amount, per },
      })),
      ...config.charges,
    ],
  });
}

async function addVersion(tx: Database, id: string, version: number, terms: PlanTerms, nowMs: number): Promise<void> {
  await pinMeters(
    tx,
    terms.charges.map((charge) => charge.meter),
  );
  const prices = await pricesOf(tx, terms, nowMs);
  await insertPlanVersion(tx, {
    planId: id,
    version,
    name: terms.name,
    interval: terms.interval,
    feeNanos: terms.fee === null ? null : (parseMoney(terms.fee, terms.currency)?.nanos ?? null),
    termsHash: hashTerms(terms),
    nowMs,
  });
  await insertPrices(tx, id, version, prices, nowMs);
}

/** Terms that are no plan's, as rating takes them: what a simulation asks about. Nothing is written, and no lock taken. */
export async function resolveTerms(db: Database, terms: PlanTerms, nowMs: number): Promise<Terms> {
  const feeNanos = terms.fee === null ? null : (parseMoney(terms.fee, terms.currency)?.nanos ?? null);
  return { currency: terms.currency, feeNanos, charges: await pricesOf(db, terms, nowMs) };
}

/** Resolves each charge's meter. All that is wrong at once: meters that are not known, charges that nothing can reach. */
async function pricesOf(tx: Database, terms: PlanTerms, nowMs: number): Promise<PriceRow[]> {
  const prices: PriceRow[] = [];
  const issues: { pointer: string; detail: string }[] = [];
  const before: { place: number; unit: string; model: string }[] = [];
  for (const [i, charge] of terms.charges.entries()) {
    if (charge.meter === null) {
      prices.push({ ...charge, price_id: newId('prc', nowMs), unit: null });
      continue;
    }
    const meter = await findMeterById(tx, charge.meter);
    // One that was removed is measured for the prices that it has, and has missed events where it has none.
    if (!meter || meter.removed_at !== null) {
      issues.push({ pointer: `#/charges/${i}/meter`, detail: `There is no meter ${charge.meter}.` });
      continue;
    }
    const earlier = before.find((other) => other.unit === meter.unit && hides(other.model, charge.model));
    if (earlier) {
      issues.push({ pointer: `#/charges/${i}`, detail: `Charge ${earlier.place} takes all that this one would.` });
    }
    before.push({ place: i, unit: meter.unit, model: charge.model });
    issues.push(
      ...misfitsOf(charge, meter).map(({ field, detail }) => ({ pointer: `#/charges/${i}/${field}`, detail })),
    );
    prices.push({ ...charge, price_id: newId('prc', nowMs), meter: meter.id, unit: meter.unit });
  }
  for (const { place, text } of carriedTwice(terms.charges)) {
    issues.push({ pointer: `#/charges/${place}/meter`, detail: `It ${text}.` });
  }
  if (issues.length > 0) throw new Fault('validation_failed', { issues });
  return prices;
}

/** What a charge asks of a meter that gives its quantity by its dimensions, and nothing else. */
function misfitsOf(charge: ChargeTerms, meter: Meter): { field: string; detail: string }[] {
  if (isUnitMeter(meter.terms)) return [];
  const has = new Set(meter.terms.dimensions);
  const misfits: { field: string; detail: string }[] = [];
  if (charge.model !== '*' && !has.has('model')) {
    misfits.push({ field: 'model', detail: `The meter ${meter.id} does not tell models apart.` });
  }
  if (charge.changes.length > 0) {
    misfits.push({ field: 'changes', detail: `What the meter ${meter.id} reads of a period cannot be cut in two.` });
  }
  const cut = cutOf([charge.price], []);
  if (cut && (cut.dimensions.length === 0 || cut.window || cut.carried || cut.events)) {
    const detail = `A ${charge.price.kind} price looks at events, and the meter ${meter.id} gives a quantity.`;
    misfits.push({ field: 'price', detail });
  }
  for (const name of cut?.dimensions ?? []) {
    if (!has.has(name)) misfits.push({ field: 'price', detail: `The meter ${meter.id} has no dimension ${name}.` });
  }
  return misfits;
}

export async function getPlan(db: Database, id: string): Promise<Plan> {
  const row = await findPlan(db, id, null);
  if (!row) throw new Fault('not_found', { detail: `There is no plan ${id}.` });
  return { ...row, charges: await listPrices(db, id, row.version) };
}

/** As of an instant: what was changed later does not count. */
export async function getPlanAt(db: Database, id: string, atMs: number): Promise<PlanRow> {
  const row = await findPlanAt(db, id, atMs);
  if (!row) throw new Fault('not_found', { detail: `There is no plan ${id}.` });
  return row;
}

export async function getPlanVersion(db: Database, id: string, version: number): Promise<Plan> {
  const row = await findPlan(db, id, version);
  if (!row) throw new Fault('not_found', { detail: `There is no version ${version} of plan ${id}.` });
  return { ...row, charges: await listPrices(db, id, version) };
}

/**
 * Lets a price change at an instant that is yet to come: usage from then on costs the new one. A change is added and
 * never changed, so that what was billed can be computed again.
 */
export async function changePrice(tx: Database, id: string, change: PriceChange, nowMs: number): Promise<StoredPrice> {
  const found = await findPrice(tx, id);
  if (!found) throw new Fault('not_found', { detail: `There is no price ${id}.` });
  await lockPlan(tx, found.plan_id);
  const plan = await getPlan(tx, found.plan_id);
  if (plan.managed_by === 'config') throw new Fault('managed_by_config', { detail: `Plan ${plan.id}.` });
  const price = (await findPrice(tx, id)) ?? found;
  if (price.unit !== null && (await findMeterOfUnit(tx, price.unit))) {
    throw new Fault('state_conflict', {
      detail: `What the meter ${price.meter} reads of a period cannot be cut in two.`,
    });
  }
  const last = price.changes.at(-1);
  const same = price.changes.find((made) => made.effective_at === change.effective_at);
  if (same && canonicalJson(same) === canonicalJson(change)) return price;
  const atMs = parseInstant(change.effective_at) ?? 0;
  const problem = (pointer: string, detail: string): Fault =>
    new Fault('validation_failed', { issues: [{ pointer, detail }] });
  if (atMs < nowMs) throw problem('#/effective_at', 'A price does not change in the past.');
  if (last && change.effective_at <= last.effective_at) {
    throw problem('#/effective_at', `The price changes at ${last.effective_at} already: say a later instant.`);
  }
  if (!canFollow(price.price, change.price)) {
    throw problem('#/price', `A ${change.price.kind} price cannot follow a ${price.price.kind} price.`);
  }
  await insertPriceChange(tx, id, change, nowMs);
  return { ...price, changes: [...price.changes, change] };
}

export async function findPriceById(db: Database, id: string): Promise<StoredPrice | undefined> {
  return findPrice(db, id);
}

/** What rating takes. */
export function termsOf(plan: Plan): Terms {
  return { currency: plan.currency, feeNanos: plan.fee_nanos, charges: plan.charges };
}

export function feeOf(plan: PlanRow): { amount: string; currency: string } | null {
  if (plan.fee_nanos === null) return null;
  return { amount: formatAmount({ nanos: plan.fee_nanos, currency: plan.currency }), currency: plan.currency };
}

function hashTerms(terms: PlanTerms): string {
  return createHash('sha256').update(canonicalJson(terms)).digest('hex');
}

export type { StoredPrice };
