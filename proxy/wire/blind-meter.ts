import { EMPTY } from './bytes.ts';
import { guessTokens, type Meter } from './wire.ts';

/**
 * For an answer that we cannot read: the upstream has compressed it although it was asked not to. It passes as it is,
 * and its bytes give a guess, so that it is marked as estimated and not free.
 */
export function blindMeter(): Meter {
  let bytes = 0;
  return {
    edits: false,
    push(chunk) {
      bytes += chunk.length;
      return chunk;
    },
    end: () => EMPTY,
    read: () => ({
      usage: null,
      complete: true,
      failed: false,
      model: null,
      serviceTier: null,
      outputTokensGuess: guessTokens(bytes),
    }),
    breakOff: () => undefined,
  };
}
