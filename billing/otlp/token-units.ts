import { add, compare, type Exact, formatExact, parseExact, subtract, ZERO } from '#core/exact.ts';
import type { Unit } from '#core/quantity.ts';

/**
 * Token counts as the GenAI conventions report them: input with what was cached in it, each modality a part of the whole.
 * Ours are disjoint.
 */
export interface TokenCounts {
  input: Exact;
  output: Exact;
  cacheRead: Exact;
  cacheWrite: Exact;
  /** Of the whole, by modality other than text. */
  parts: Readonly<Record<'audio' | 'image' | 'video', { input: Exact; cacheRead: Exact; output: Exact }>>;
}

export function noTokens(): TokenCounts {
  const nothing = () => ({ input: ZERO, cacheRead: ZERO, output: ZERO });
  return {
    ...{ input: ZERO, output: ZERO, cacheRead: ZERO, cacheWrite: ZERO },
    parts: { audio: nothing(), image: nothing(), video: nothing() },
  };
}

export const MODALITIES = ['audio', 'image', 'video'] as const;

const UNITS_OF: Readonly<Record<(typeof MODALITIES)[number], { input: Unit; cacheRead: Unit; output: Unit | null }>> = {
  audio: { input: 'input_audio_tokens', cacheRead: 'cache_read_audio_tokens', output: 'output_audio_tokens' },
  image: { input: 'input_image_tokens', cacheRead: 'cache_read_image_tokens', output: 'output_image_tokens' },
  video: { input: 'input_video_tokens', cacheRead: 'cache_read_video_tokens', output: null },
};

/**
 * Disjoint quantities. Where the parts exceed the whole they are not parts of it: some instrumentations report the input
 * without what was cached.
 */
export function quantitiesOfTokens(counts: TokenCounts): Record<string, string> {
  const quantities = new Map<Unit, Exact>();
  let [inputParts, readParts, outputParts] = [ZERO, ZERO, ZERO];
  for (const modality of MODALITIES) {
    const { input, cacheRead, output } = counts.parts[modality];
    const units = UNITS_OF[modality];
    quantities.set(units.input, less(input, cacheRead));
    quantities.set(units.cacheRead, cacheRead);
    // Video out is counted with the text where there is no unit for it.
    if (units.output) quantities.set(units.output, output);
    inputParts = add(inputParts, less(input, cacheRead));
    readParts = add(readParts, cacheRead);
    if (units.output) outputParts = add(outputParts, output);
  }
  const read = less(counts.cacheRead, readParts);
  quantities.set('cache_read_tokens', read);
  quantities.set('cache_write_tokens', counts.cacheWrite);
  const cached = add(add(read, counts.cacheWrite), add(readParts, inputParts));
  quantities.set('input_tokens', less(counts.input, cached));
  quantities.set('output_tokens', less(counts.output, outputParts));
  return Object.fromEntries(
    [...quantities]
      .filter(([, quantity]) => quantity.num > 0n)
      .map(([unit, quantity]) => [unit, formatExact(quantity)]),
  );
}

/** The whole without its parts; the whole where they are none of it. */
function less(whole: Exact, parts: Exact): Exact {
  return compare(parts, whole) > 0 ? whole : subtract(whole, parts);
}

/** Undefined for what is no decimal that is not negative. */
export function parseCount(text: string | undefined): Exact | undefined {
  const value = text === undefined ? undefined : parseExact(text);
  return value && value.num >= 0n ? value : undefined;
}
