import type { Counts } from '#core/quantity.ts';
import { isObject } from './bytes.ts';
import { statedCost } from './stated-cost.ts';
import type { Usage } from './wire.ts';

/**
 * OpenAI's usage objects to disjoint counts: chat says `prompt_tokens`, everything younger `input_tokens`. Their details
 * are parts of their totals, so they are taken out of them; parts that overlap or exceed their total are cut to what is
 * left, so that the sum is always the provider's own total. Undefined when the totals are no counts.
 */
export function parseUsage(raw: unknown): Usage | undefined {
  if (!isObject(raw)) return undefined;
  if (raw.type === 'duration') return parseDuration(raw);
  const prompt = count(raw.prompt_tokens === undefined ? raw.input_tokens : raw.prompt_tokens);
  const outputTotal = raw.completion_tokens === undefined ? raw.output_tokens : raw.completion_tokens;
  const completion = outputTotal === undefined ? 0n : count(outputTotal);
  if (prompt === undefined || completion === undefined) return undefined;
  const promptParts = objectOf(raw.prompt_tokens_details ?? raw.input_tokens_details ?? raw.input_token_details);
  const completionParts = objectOf(
    raw.completion_tokens_details ?? raw.output_tokens_details ?? raw.output_token_details,
  );
  const cachedParts = objectOf(promptParts.cached_tokens_details);

  const input = new Rest(prompt);
  const cachedAudio = input.take(cachedParts.audio_tokens);
  const cachedImage = input.take(cachedParts.image_tokens);
  // DeepSeek's own name for it, and Moonshot's.
  const cached = promptParts.cached_tokens ?? raw.prompt_cache_hit_tokens ?? raw.cached_tokens;
  const cacheRead = input.take(cached, cachedAudio + cachedImage);
  const cacheWrite = input.take(promptParts.cache_write_tokens);
  const inputAudio = input.take(promptParts.audio_tokens, cachedAudio);
  const inputImage = input.take(promptParts.image_tokens, cachedImage);

  // Some providers (xAI) leave reasoning out of the completion; their total gives it away.
  const reasoning = count(completionParts.reasoning_tokens) ?? 0n;
  const apart = reasoning > 0n && count(raw.total_tokens) === prompt + completion + reasoning;
  const output = new Rest(completion + (apart ? reasoning : 0n));
  const outputAudio = output.take(completionParts.audio_tokens);
  const outputImage = output.take(completionParts.image_tokens);

  const counts: Counts = {
    calls: 1n,
    input_tokens: input.left,
    cache_read_tokens: cacheRead,
    cache_write_tokens: cacheWrite,
    input_audio_tokens: inputAudio,
    output_tokens: output.left,
    output_audio_tokens: outputAudio,
  };
  const costUsd = statedCost(raw);
  // Mistral hears sound by the second, beside the tokens.
  const heard = count(raw.prompt_audio_seconds) ?? 0n;
  // What OpenRouter searched for, beside the tokens.
  const searches = count(objectOf(raw.server_tool_use_details).web_search_requests) ?? 0n;
  if (cachedAudio + cachedImage + inputImage + outputImage + heard + searches === 0n) return { counts, raw, costUsd };
  const media: Counts = {
    cache_read_audio_tokens: cachedAudio,
    cache_read_image_tokens: cachedImage,
    input_image_tokens: inputImage,
    output_image_tokens: outputImage,
    audio_seconds: heard,
    ...(searches > 0n && { web_searches: searches }),
  };
  return { counts: { ...counts, ...media }, raw, costUsd };
}

/** Whisper bills seconds of sound, begun ones in full. */
function parseDuration(raw: Readonly<Record<string, unknown>>): Usage | undefined {
  const { seconds } = raw;
  if (typeof seconds !== 'number' || !(seconds >= 0 && seconds <= Number.MAX_SAFE_INTEGER)) return undefined;
  return { counts: { calls: 1n, audio_seconds: BigInt(Math.ceil(seconds)) }, raw };
}

/** A total of which parts are taken, each no more than is left. */
class Rest {
  left: bigint;

  constructor(total: bigint) {
    this.left = total;
  }

  /** `taken`: how much of the part has been taken under another name. */
  take(part: unknown, taken = 0n): bigint {
    const wanted = (count(part) ?? 0n) - taken;
    const got = wanted < 0n ? 0n : wanted < this.left ? wanted : this.left;
    this.left -= got;
    return got;
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {};
}

function count(value: unknown): bigint | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
}
