import type { Config } from '#config/config.ts';
import { type CallCost, costOfCallBy, NO_COST, reportedCost } from '#core/call-cost.ts';
import { type Service, STANDARD_SERVICE, worstCostNanos } from '#core/cost.ts';
import { type ModelEntry, type ModelPrices, plainPrices } from '#core/price.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import type { Target } from './upstream/route-table.ts';
import type { Asked, Usage } from './wire/wire.ts';

/** What a call can cost before it is sent, and what it did cost after. */

export interface WorstCase {
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  /** At the dearest of the targets; null when one of them has no known price. */
  readonly costNanos: bigint | null;
  readonly currency: string;
  /** Of units that are no tokens. */
  readonly quantities: Counts;
}

/** The most tokens that one target can bill a call for. */
export interface TokensMax {
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
}

export function tokensMaxOf(asked: Asked, target: Target, customer: string, config: Config): TokensMax {
  return tokensMaxAt(asked, findEntry(config, target, asked.model, customer), config);
}

function tokensMaxAt(asked: Asked, entry: ModelEntry | undefined, config: Config): TokensMax {
  return {
    inputTokens: inputMax(asked, entry),
    outputTokens: outputMax(asked, entry, BigInt(config.gateway.outputTokensMax)),
  };
}

export function worstCaseOf(
  asked: Asked,
  targets: readonly Target[],
  customer: string,
  config: Config,
  atMs: number,
): WorstCase {
  let inputTokens = 0n;
  let outputTokens = 0n;
  let costNanos: bigint | null = 0n;
  let currency = 'USD';
  if (asked.metering === 'free') return FREE;
  const bounds = asked.timed ? agentBounds(asked, targets, config) : asked.bounds;
  for (const target of targets) {
    const entry = findEntry(config, target, asked.model, customer);
    const max = tokensMaxAt(asked, entry, config);
    const prices = entry?.findPrices(atMs);
    const cost =
      asked.metering === 'usage'
        ? (worstCost(asked, bounds, max, target, prices ?? NO_PRICES) ??
          worstCost(asked, bounds, max, target, entry?.findHoldPrices(atMs)))
        : undefined;
    if (cost === undefined) costNanos = null;
    else if (costNanos !== null && cost > costNanos) costNanos = cost;
    if (prices) currency = prices.currency;
    if (max.inputTokens > inputTokens) inputTokens = max.inputTokens;
    if (max.outputTokens > outputTokens) outputTokens = max.outputTokens;
  }
  return { inputTokens, outputTokens, costNanos, currency, quantities: bounds };
}

/** Without a list only what nobody bills has a bound. */
const NO_PRICES = plainPrices('USD', {});

const FREE: WorstCase = { inputTokens: 0n, outputTokens: 0n, costNanos: 0n, currency: 'USD', quantities: {} };

/** The most milliseconds that a call may be billed for: all that it may take. */
export function durationMsMax({ gateway }: Config): bigint {
  return BigInt(gateway.callTimeoutMs);
}

function agentBounds(asked: Asked, targets: readonly Target[], config: Config): Counts {
  const bounds: Partial<Record<Unit, bigint>> = { ...asked.bounds, duration_ms: durationMsMax(config) };
  for (const { upstream } of targets) {
    for (const { unit, max } of upstream.units) if (max > (bounds[unit] ?? 0n)) bounds[unit] = max;
  }
  return bounds;
}

function worstCost(
  asked: Asked,
  others: Counts,
  max: TokensMax,
  target: Target,
  prices: ModelPrices | undefined,
): bigint | undefined {
  if (!prices) return undefined;
  const { inputUnits = null, outputUnits = null } = asked;
  const bounds = { inputTokens: max.inputTokens, outputTokens: max.outputTokens, inputUnits, outputUnits, others };
  return worstCostNanos(bounds, prices, serviceOf(asked, target, asked.serviceTier, null));
}

function serviceOf(asked: Asked, { upstream }: Target, tier: string | null, region: string | null): Service {
  const where = region ?? asked.region ?? upstream.region;
  const variant = asked.variant ?? null;
  if (tier === null && where === null && variant === null) return STANDARD_SERVICE;
  return { tier, region: where, variant };
}

/** A provider refuses what does not fit into the context, so the context bounds each input too. */
function inputMax(asked: Asked, entry: ModelEntry | undefined): bigint {
  const contextTokens = entry?.contextTokens ?? null;
  if (contextTokens === null) return asked.inputTokensMax;
  const context = contextTokens * asked.inputs;
  return asked.inputElsewhere || asked.inputTokensMax > context ? context : asked.inputTokensMax;
}

function outputMax(asked: Asked, entry: ModelEntry | undefined, unknownMax: bigint): bigint {
  const modelMax = entry?.outputTokensMax ?? entry?.contextTokens ?? null;
  const wanted = asked.outputTokensMax;
  const each = wanted === null ? (modelMax ?? unknownMax) : modelMax !== null && modelMax < wanted ? modelMax : wanted;
  return each * asked.answers;
}

/** Of a call that nobody can read: it is marked, never free. */
const UNKNOWN: CallCost = { json: null, nanos: null, unpriced: ['calls'] };

/** What the answer says of who served the call, and how. */
export interface Served {
  readonly model: string | null;
  readonly tier: string | null;
  readonly region: string | null;
  /** What the call belongs to. */
  readonly run?: string | null;
  readonly session?: string | null;
}

/** `usage`: what the upstream reported; null where the counts are a guess. */
export function costOfCall(
  counts: Counts,
  usage: Usage | null,
  target: Target | null,
  asked: Asked,
  served: Served,
  customer: string,
  config: Config,
  atMs: number,
  endMs: number,
): CallCost {
  if (target === null || isNothing(counts)) return NO_COST;
  if (asked.metering === 'unmetered') return UNKNOWN;
  if (usage?.costUsd !== undefined) {
    const reported = reportedCost(usage.costUsd, 'USD');
    if (reported) return reported;
  }
  const { upstream } = target;
  const facts = {
    provider: upstream.provider,
    upstream: upstream.name,
    customer,
    modelSent: target.model ?? asked.model,
    modelServed: served.model,
    // Of an answer that nobody read to its end, the request says how it was to be served.
    service: serviceOf(asked, target, served.tier ?? (usage ? null : asked.serviceTier), served.region),
    atMs,
    endMs,
  };
  return costOfCallBy(config.priceBook, facts, counts, usage?.parts ?? null);
}

function isNothing(counts: Counts): boolean {
  for (const unit in counts) if (counts[unit as Unit]) return false;
  return true;
}

function findEntry(
  config: Config,
  { upstream, model }: Target,
  asked: string,
  customer: string,
): ModelEntry | undefined {
  return config.priceBook.findModel(upstream.provider, model ?? asked, upstream.name, customer);
}
