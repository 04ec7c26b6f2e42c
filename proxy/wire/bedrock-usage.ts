import type { Counts } from '#core/quantity.ts';
import { headerOf } from '../headers.ts';
import type { HeaderMap } from '../inbound/call.ts';
import { isObject } from './bytes.ts';
import type { Usage } from './wire.ts';

type Fields = Readonly<Record<string, unknown>>;

/** The usage of Converse to disjoint counts: its input leaves out what a cache took or gave (recorded). */
export function parseConverseUsage(raw: unknown): Usage | undefined {
  if (!isObject(raw)) return undefined;
  const written = count(raw.cacheWriteInputTokens) ?? 0n;
  const byLifetime = writesOf(raw.cacheDetails);
  const known = byLifetime.fiveMinutes + byLifetime.hour;
  return usageOf(
    raw,
    {
      input_tokens: count(raw.inputTokens),
      output_tokens: count(raw.outputTokens),
      cache_read_tokens: count(raw.cacheReadInputTokens),
    },
    // What its details leave open has no stated lifetime.
    known > written
      ? { cache_write_tokens: written }
      : {
          cache_write_5m_tokens: byLifetime.fiveMinutes,
          cache_write_1h_tokens: byLifetime.hour,
          cache_write_tokens: written - known,
        },
  );
}

function writesOf(details: unknown): { fiveMinutes: bigint; hour: bigint } {
  const writes = { fiveMinutes: 0n, hour: 0n };
  for (const detail of Array.isArray(details) ? details : []) {
    if (!isObject(detail)) continue;
    if (detail.ttl === '5m') writes.fiveMinutes += count(detail.inputTokens) ?? 0n;
    else if (detail.ttl === '1h') writes.hour += count(detail.inputTokens) ?? 0n;
  }
  return writes;
}

/** What Bedrock itself says of an invocation, whatever the model's own answer holds: in the last message of a stream. */
export function parseInvocationMetrics(raw: unknown): Usage | undefined {
  if (!isObject(raw)) return undefined;
  const known = { input_tokens: count(raw.inputTokenCount), output_tokens: count(raw.outputTokenCount) };
  return usageOf(raw, { ...known, cache_read_tokens: count(raw.cacheReadInputTokenCount) }, writeOf(raw));
}

function writeOf(raw: Fields): Counts {
  return { cache_write_tokens: count(raw.cacheWriteInputTokenCount) ?? 0n };
}

const TOKEN_HEADERS = {
  inputTokenCount: 'x-amzn-bedrock-input-token-count',
  outputTokenCount: 'x-amzn-bedrock-output-token-count',
  cacheReadInputTokenCount: 'x-amzn-bedrock-cache-read-input-token-count',
  cacheWriteInputTokenCount: 'x-amzn-bedrock-cache-write-input-token-count',
} as const;

/** And in the headers of an answer that comes whole. */
export function parseInvocationHeaders(headers: HeaderMap): Usage | undefined {
  const raw: Record<string, number> = {};
  for (const [name, header] of Object.entries(TOKEN_HEADERS)) {
    const value = headerOf(headers, header);
    if (value !== undefined && /^\d{1,15}$/.test(value)) raw[name] = Number(value);
  }
  return parseInvocationMetrics(raw);
}

interface Known {
  input_tokens: bigint | undefined;
  output_tokens: bigint | undefined;
  cache_read_tokens: bigint | undefined;
}

/** Undefined where neither input nor output is told. */
function usageOf(raw: Fields, known: Known, writes: Counts): Usage | undefined {
  if (known.input_tokens === undefined && known.output_tokens === undefined) return undefined;
  const counts: Counts = {
    calls: 1n,
    input_tokens: known.input_tokens ?? 0n,
    output_tokens: known.output_tokens ?? 0n,
    cache_read_tokens: known.cache_read_tokens ?? 0n,
    ...writes,
  };
  return { counts, raw };
}

function count(value: unknown): bigint | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
}
