/**
 * The port to real counts of tokens, for where the bound by bytes is too coarse: when what is left of a limit would not
 * do for it, and for an answer that we cut ourselves.
 */
export interface TokenCounter {
  /** Undefined where nobody knows the model's tokens, or they cannot be counted in time. */
  count(model: string, text: string): Promise<bigint | undefined>;
}

/** For runtimes that cannot count: everything stays at its bound. */
export const NO_COUNTER: TokenCounter = { count: async () => undefined };

export type Encoding = 'o200k_base' | 'cl100k_base';

/** OpenAI's models by how their names begin, the first that fits. `gpt-oss` has the same ranks as the newer ones. */
const ENCODINGS: readonly (readonly [start: RegExp, encoding: Encoding])[] = [
  [/^(gpt-(4o|4\.1|4\.5|[5-9]|oss)|chatgpt-|o[1-9])/, 'o200k_base'],
  [/^(gpt-4|gpt-3\.5|gpt-35|text-embedding-)/, 'cl100k_base'],
];

/** Undefined for a model whose tokens are not public: no other vocabulary would bound them. */
export function encodingOf(model: string): Encoding | undefined {
  // As routers write it (`openai/gpt-4o`), and as fine-tuned models are called (`ft:gpt-4o:acme::id`).
  const name = model.slice(model.lastIndexOf('/') + 1).replace(/^ft:/, '');
  return ENCODINGS.find(([start]) => start.test(name))?.[1];
}
