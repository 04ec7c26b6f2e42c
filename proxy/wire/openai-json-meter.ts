import { EMPTY } from './bytes.ts';
import { parseName } from './json-request.ts';
import { JsonWatch, type WatchList, watchList } from './json-watch.ts';
import { parseUsage } from './openai-usage.ts';
import { guessTokens, type Meter, type Reading } from './wire.ts';

/** `textOf` names the member that holds generated text, if one does. */
export function answerMembers(textOf: string | null): WatchList {
  return watchList(['usage', 'model', 'service_tier', 'error'], textOf);
}

/** One JSON answer: its bytes pass untouched, the usage is picked out of them. */
export function jsonMeter(members: WatchList): Meter {
  const watch = new JsonWatch(members);
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
