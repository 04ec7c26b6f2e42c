import { EMPTY } from './bytes.ts';
import { JsonWatch } from './json-watch.ts';
import { parseName } from './openai-request.ts';
import { parseUsage } from './openai-usage.ts';
import { guessTokens, type Meter, type Reading } from './wire.ts';

const WATCHED = new Set(['usage', 'model', 'service_tier', 'error']);

/** One JSON answer: its bytes pass untouched, the usage is picked out of them. `textOf` names the member that holds generated text. */
export function jsonMeter(textOf: string | null): Meter {
  const watch = new JsonWatch(WATCHED, textOf);
  return {
    edits: false,
    push(chunk) {
      watch.push(chunk);
      return chunk;
    },
    end: () => EMPTY,
    read(): Reading {
      return {
        usage: parseUsage(watch.find('usage')) ?? null,
        complete: watch.complete,
        failed: (watch.find('error') ?? null) !== null,
        model: parseName(watch.find('model')),
        serviceTier: parseName(watch.find('service_tier')),
        outputTokensGuess: guessTokens(watch.textBytes),
      };
    },
    breakOff: () => undefined,
  };
}
