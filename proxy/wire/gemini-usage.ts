import type { Counts, Unit } from '#core/quantity.ts';
import { isObject } from './bytes.ts';
import { NO_COUNTS, type Usage } from './wire.ts';

/** All that a usage of Google's can come to. */
export const GEMINI_TOKEN_UNITS = [
  'input_tokens',
  'input_audio_tokens',
  'input_image_tokens',
  'input_video_tokens',
  'cache_read_tokens',
  'cache_read_audio_tokens',
  'cache_read_image_tokens',
  'cache_read_video_tokens',
  'output_tokens',
  'output_audio_tokens',
  'output_image_tokens',
] as const satisfies readonly Unit[];

/** What the two forms of Google's usage say, in one shape. */
interface Stated {
  readonly prompt: bigint;
  readonly cached: bigint;
  readonly toolUse: bigint;
  readonly answer: bigint;
  readonly thoughts: bigint;
  readonly total: bigint | undefined;
  readonly promptParts: Parts;
  readonly cachedParts: Parts;
  readonly toolUseParts: Parts;
  readonly answerParts: Parts;
}

/** Tokens that are no text. What a list leaves out is text, as are documents. */
interface Parts {
  readonly audio: bigint;
  readonly image: bigint;
  readonly video: bigint;
}

/** `usageMetadata` of generateContent, embedContent and their like. Undefined when it states nothing. */
export function parseUsageMetadata(raw: unknown): Usage | undefined {
  if (!isObject(raw)) return undefined;
  const prompt = count(raw.promptTokenCount);
  const total = count(raw.totalTokenCount);
  // What is zero is left out: a blocked prompt can have a total alone.
  if (prompt === undefined && total === undefined) return undefined;
  const counts = countsOf({
    prompt: prompt ?? 0n,
    cached: count(raw.cachedContentTokenCount) ?? 0n,
    toolUse: count(raw.toolUsePromptTokenCount) ?? 0n,
    answer: count(raw.candidatesTokenCount) ?? count(raw.responseTokenCount) ?? 0n,
    thoughts: count(raw.thoughtsTokenCount) ?? 0n,
    total,
    promptParts: partsOf(raw.promptTokensDetails ?? raw.promptTokenDetails, 'tokenCount'),
    cachedParts: partsOf(raw.cacheTokensDetails, 'tokenCount'),
    toolUseParts: partsOf(raw.toolUsePromptTokensDetails, 'tokenCount'),
    answerParts: partsOf(raw.candidatesTokensDetails ?? raw.responseTokensDetails, 'tokenCount'),
  });
  return { counts, raw };
}

/** `usage` of the Interactions API: the same figures under other names, and how often its grounding tools ran. */
export function parseInteractionUsage(raw: unknown): Usage | undefined {
  if (!isObject(raw)) return undefined;
  const prompt = count(raw.total_input_tokens);
  const total = count(raw.total_tokens);
  if (prompt === undefined && total === undefined) return undefined;
  const counts = countsOf({
    prompt: prompt ?? 0n,
    cached: count(raw.total_cached_tokens) ?? 0n,
    toolUse: count(raw.total_tool_use_tokens) ?? 0n,
    answer: count(raw.total_output_tokens) ?? 0n,
    thoughts: count(raw.total_thought_tokens) ?? 0n,
    total,
    promptParts: partsOf(raw.input_tokens_by_modality, 'tokens'),
    cachedParts: partsOf(raw.cached_tokens_by_modality, 'tokens'),
    toolUseParts: partsOf(raw.tool_use_tokens_by_modality, 'tokens'),
    answerParts: partsOf(raw.output_tokens_by_modality, 'tokens'),
  });
  const grounding = groundingCounts(toolCount(raw.grounding_tool_count, 'google_search'));
  const maps = toolCount(raw.grounding_tool_count, 'google_maps');
  return { counts: { ...counts, ...grounding, ...(maps > 0n && { maps_queries: maps }) }, raw };
}

function toolCount(tools: unknown, type: string): bigint {
  if (!Array.isArray(tools)) return 0n;
  return tools.reduce(
    (total, tool) => total + (isObject(tool) && tool.type === type ? (count(tool.count) ?? 0n) : 0n),
    0n,
  );
}

/**
 * To disjoint counts. The cached part is taken out of the prompt, what tools brought in is added to it, thoughts are
 * output. Parts that exceed what they are parts of are cut to it, so that the sum is the provider's own total.
 */
function countsOf(stated: Stated): Counts {
  const cached = min(stated.cached, stated.prompt);
  const cachedParts = within(stated.cachedParts, cached);
  const fresh = stated.prompt - cached + stated.toolUse;
  const freshParts = within(plus(minus(stated.promptParts, cachedParts), stated.toolUseParts), fresh);
  const answerParts = within(stated.answerParts, stated.answer);
  return {
    calls: 1n,
    input_tokens: fresh - sum(freshParts),
    input_audio_tokens: freshParts.audio,
    input_image_tokens: freshParts.image,
    input_video_tokens: freshParts.video,
    cache_read_tokens: cached - sum(cachedParts),
    cache_read_audio_tokens: cachedParts.audio,
    cache_read_image_tokens: cachedParts.image,
    cache_read_video_tokens: cachedParts.video,
    // Video has no price of its own on its way out.
    output_tokens: outputOf(stated) - answerParts.audio - answerParts.image,
    output_audio_tokens: answerParts.audio,
    output_image_tokens: answerParts.image,
  };
}

/**
 * The answer and its thoughts. Some servers count the thoughts into the answer, some leave what tools brought in out of
 * the total, and older ones state the thoughts in the total alone: what is in it and in nothing else was generated.
 */
function outputOf({ prompt, toolUse, answer, thoughts, total = 0n }: Stated): bigint {
  const apart = answer + thoughts;
  if (total > prompt + toolUse + apart) return total - prompt - toolUse;
  const isWithin = thoughts > 0n && (total === prompt + toolUse + answer || total === prompt + answer);
  return isWithin && total !== prompt + apart ? answer : apart;
}

function partsOf(details: unknown, figure: string): Parts {
  const parts = { audio: 0n, image: 0n, video: 0n };
  if (!Array.isArray(details)) return parts;
  for (const detail of details) {
    if (!isObject(detail) || typeof detail.modality !== 'string') continue;
    const modality = detail.modality.toLowerCase();
    if (modality === 'audio' || modality === 'image' || modality === 'video') {
      parts[modality] += count(detail[figure]) ?? 0n;
    }
  }
  return parts;
}

function within({ audio, image, video }: Parts, whole: bigint): Parts {
  const audioWithin = min(audio, whole);
  const imageWithin = min(image, whole - audioWithin);
  return { audio: audioWithin, image: imageWithin, video: min(video, whole - audioWithin - imageWithin) };
}

function minus(a: Parts, b: Parts): Parts {
  return { audio: less(a.audio, b.audio), image: less(a.image, b.image), video: less(a.video, b.video) };
}

function plus(a: Parts, b: Parts): Parts {
  return { audio: a.audio + b.audio, image: a.image + b.image, video: a.video + b.video };
}

function sum({ audio, image, video }: Parts): bigint {
  return audio + image + video;
}

function less(a: bigint, b: bigint): bigint {
  return a > b ? a - b : 0n;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

/** Numbers of 64 bits stand in Google's JSON as text. */
export function count(value: unknown): bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? BigInt(value) : undefined;
}

/** As Vertex (`trafficType`) and the Gemini API (`serviceTier`) say it; null for the tier that the price list means. */
export function tierOf(usage: unknown): string | null {
  if (!isObject(usage)) return null;
  const { trafficType, serviceTier } = usage;
  if (typeof trafficType === 'string') return TRAFFIC_TIERS[trafficType] ?? null;
  return typeof serviceTier === 'string' ? tierNamed(serviceTier) : null;
}

/** In the words of the price book: without one, it is the list price. */
export function tierNamed(name: string): string | null {
  const tier = name.toLowerCase().replace(/^service_tier_/, '');
  return tier === '' || tier === 'standard' || tier === 'unspecified' ? null : tier;
}

const TRAFFIC_TIERS: Readonly<Record<string, string>> = {
  ON_DEMAND_PRIORITY: 'priority',
  ON_DEMAND_FLEX: 'flex',
  PROVISIONED_THROUGHPUT: 'provisioned',
};

/**
 * `queries`: the searches behind an answer. Before the third generation Google bills the prompt, from it on the query:
 * the price list knows which, and names a price for that one alone.
 */
export function groundingCounts(queries: bigint): Counts {
  return queries === 0n ? NO_COUNTS : { grounding_queries: queries, grounded_prompts: 1n };
}

/** Google bills each query once however often it ran, and no empty one. */
export function billedQueries(queries: ReadonlySet<string>): bigint {
  return BigInt(queries.size - (queries.has('') ? 1 : 0));
}
