import type { Admitted } from '../admission.ts';
import { encodingOf, type TokenCounter } from './token-counter.ts';

/** Stands between two texts and merges with neither: they are counted in one go. */
const BETWEEN = '\u0000';

/**
 * The input tokens of a call, really counted, for whichever of its upstreams counts most. Undefined where it holds more
 * than text, or is for a model whose tokens nobody here knows. Never more than the bound.
 */
export async function countInput(
  tokens: TokenCounter,
  { wire, body, asked, targets }: Pick<Admitted, 'wire' | 'body' | 'asked' | 'targets'>,
): Promise<bigint | undefined> {
  if (asked.inputElsewhere) return undefined;
  const models = new Map(targets.map(({ model }) => [encodingOf(model ?? asked.model), model ?? asked.model]));
  const input = models.has(undefined) ? undefined : wire.inputText?.(body);
  if (!input) return undefined;
  let most = 0n;
  for (const model of models.values()) {
    const count = await tokens.count(model, input.texts.join(BETWEEN));
    if (count === undefined) return undefined;
    const total = count - BigInt(Math.max(0, input.texts.length - 1)) + input.extraTokens;
    if (total > most) most = total;
  }
  return most < asked.inputTokensMax ? most : asked.inputTokensMax;
}
