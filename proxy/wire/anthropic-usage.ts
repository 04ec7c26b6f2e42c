import type { Counts, Unit } from '#core/quantity.ts';
import { isObject } from './bytes.ts';
import { statedCost } from './stated-cost.ts';
import type { Usage } from './wire.ts';

type Fields = Readonly<Record<string, unknown>>;
type Part = NonNullable<Usage['parts']>[number];

export interface UsageContext {
  /** The request may write caches for an hour: then what has no stated lifetime was written for one, the dearer. */
  readonly hourWrites: boolean;
  /** A refusal before any output: what its usage says is not billed. */
  readonly unbilled: boolean;
}

/**
 * Anthropic's usage object to disjoint counts: its input leaves out what a cache took or gave. What was done beside the
 * answer stands in `iterations` alone, at models of their own: compactions, an adviser, models that declined before
 * another took over. Undefined when there are no counts.
 */
export function parseAnthropicUsage(raw: unknown, context: UsageContext): Usage | undefined {
  if (!isObject(raw) || (count(raw.input_tokens) === undefined && count(raw.output_tokens) === undefined)) {
    return undefined;
  }
  const iterations = Array.isArray(raw.iterations) ? raw.iterations.filter(isObject) : [];
  const served = nameOf(iterations.findLast(({ type }) => type === 'fallback_message')?.model);
  const main = context.unbilled ? {} : countsOfAnswer(raw, iterations, served, context);
  const parts: Part[] = [{ model: null, counts: { calls: 1n, ...main, ...toolCounts(raw.server_tool_use) } }];
  for (const entry of iterations) {
    if (!isBeside(entry, served)) continue;
    const model = nameOf(entry.model);
    add(parts, model === served ? null : model, tokenCounts(entry, context));
  }
  const counts = sumOf(parts);
  const costUsd = statedCost(raw);
  return parts.length === 1 ? { counts, raw, costUsd } : { counts, raw, parts, costUsd };
}

/** The model that took over from one that declined, as the usage says at its end; null where none did. */
export function servedByFallback(raw: unknown): string | null {
  const iterations = isObject(raw) && Array.isArray(raw.iterations) ? raw.iterations.filter(isObject) : [];
  return nameOf(iterations.findLast(({ type }) => type === 'fallback_message')?.model);
}

/** A declined attempt that says one token of output had none: a refusal before any output is not billed. */
const DECLINED_WITHOUT_OUTPUT = 1n;

/** Whether the totals leave an iteration out. */
function isBeside({ type, model, output_tokens }: Fields, served: string | null): boolean {
  if (type === 'compaction' || type === 'advisor_message') return true;
  if (type !== 'message' || served === null || model === served) return false;
  return (count(output_tokens) ?? 0n) > DECLINED_WITHOUT_OUTPUT;
}

/** The totals; caches by lifetime as the iterations have it, where these are all of the totals. */
function countsOfAnswer(
  raw: Fields,
  iterations: readonly Fields[],
  served: string | null,
  context: UsageContext,
): Counts {
  const totals = tokenCounts(raw, context);
  const own = iterations.filter(
    ({ type, model }) => type === 'fallback_message' || (type === 'message' && (served === null || model === served)),
  );
  if (own.length === 0) return totals;
  const summed = sumOf(own.map((entry) => ({ model: null, counts: tokenCounts(entry, context) })));
  if (writtenOf(summed) !== writtenOf(totals)) return totals;
  const { cache_write_5m_tokens = 0n, cache_write_1h_tokens = 0n } = summed;
  return { ...totals, cache_write_5m_tokens, cache_write_1h_tokens };
}

function tokenCounts(usage: Fields, { hourWrites }: UsageContext): Counts {
  const split = isObject(usage.cache_creation) ? usage.cache_creation : {};
  const known5m = count(split.ephemeral_5m_input_tokens) ?? 0n;
  const known1h = count(split.ephemeral_1h_input_tokens) ?? 0n;
  const written = count(usage.cache_creation_input_tokens) ?? 0n;
  const rest = written > known5m + known1h ? written - known5m - known1h : 0n;
  return {
    input_tokens: count(usage.input_tokens) ?? 0n,
    cache_read_tokens: count(usage.cache_read_input_tokens) ?? 0n,
    cache_write_5m_tokens: known5m + (hourWrites ? 0n : rest),
    cache_write_1h_tokens: known1h + (hourWrites ? rest : 0n),
    output_tokens: count(usage.output_tokens) ?? 0n,
  };
}

function toolCounts(tools: unknown): Counts {
  if (!isObject(tools)) return {};
  return { web_searches: count(tools.web_search_requests) ?? 0n, web_fetches: count(tools.web_fetch_requests) ?? 0n };
}

function writtenOf(counts: Counts): bigint {
  return (counts.cache_write_5m_tokens ?? 0n) + (counts.cache_write_1h_tokens ?? 0n);
}

function add(parts: Part[], model: string | null, counts: Counts): void {
  const at = parts.findIndex((part) => part.model === model);
  const known = parts[at];
  if (known) parts[at] = { model, counts: sumOf([known, { model, counts }]) };
  else parts.push({ model, counts });
}

export function sumOf(parts: readonly Part[]): Counts {
  const [first, ...others] = parts;
  if (first && others.length === 0) return first.counts;
  const total: Partial<Record<Unit, bigint>> = {};
  for (const { counts } of parts) {
    for (const unit of Object.keys(counts) as Unit[]) total[unit] = (total[unit] ?? 0n) + (counts[unit] ?? 0n);
  }
  return total;
}

function nameOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function count(value: unknown): bigint | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
}
