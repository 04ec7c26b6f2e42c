import type { Counts } from '#core/quantity.ts';
import { isObject } from './bytes.ts';
import type { Usage } from './wire.ts';

/**
 * OpenAI's usage object to disjoint counts. Its details are parts of its totals, so they are taken out of them; parts
 * that overlap or exceed their total are cut to what is left, so that the sum is always the provider's own total.
 * Undefined when the totals are no counts.
 */
export function parseUsage(raw: unknown): Usage | undefined {
  if (!isObject(raw)) return undefined;
  const prompt = count(raw.prompt_tokens);
  const completion = count(raw.completion_tokens) ?? (raw.completion_tokens === undefined ? 0n : undefined);
  if (prompt === undefined || completion === undefined) return undefined;
  const promptParts = isObject(raw.prompt_tokens_details) ? raw.prompt_tokens_details : {};
  const completionParts = isObject(raw.completion_tokens_details) ? raw.completion_tokens_details : {};

  let input = prompt;
  const take = (part: unknown): bigint => {
    const wanted = count(part) ?? 0n;
    const taken = wanted < input ? wanted : input;
    input -= taken;
    return taken;
  };
  const cacheRead = take(promptParts.cached_tokens);
  const cacheWrite = take(promptParts.cache_write_tokens);
  const inputAudio = take(promptParts.audio_tokens);

  // Some providers (xAI) leave reasoning out of the completion; their total gives it away.
  const reasoning = count(completionParts.reasoning_tokens) ?? 0n;
  const total = count(raw.total_tokens);
  const apart = reasoning > 0n && total === prompt + completion + reasoning;
  const output = completion + (apart ? reasoning : 0n);
  const audio = count(completionParts.audio_tokens) ?? 0n;
  const outputAudio = audio < output ? audio : output;

  const counts: Counts = {
    calls: 1n,
    input_tokens: input,
    cache_read_tokens: cacheRead,
    cache_write_tokens: cacheWrite,
    input_audio_tokens: inputAudio,
    output_tokens: output - outputAudio,
    output_audio_tokens: outputAudio,
  };
  return { counts, raw };
}

function count(value: unknown): bigint | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
}
