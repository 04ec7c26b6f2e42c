import { edited } from './json-span.ts';
import { answerMembers, jsonMeter } from './openai-json-meter.ts';
import { parseBody, parseModel, parseName, replaceModel } from './openai-request.ts';
import { guessTokens, type Wire } from './wire.ts';

// Vectors are no text: nothing is measured as output.
const ANSWER = answerMembers(null);

const DECISIVE = new Set(['model', 'input']);

/** OpenAI Embeddings: no output tokens, so only the body can cost. */
export const openaiEmbeddings: Wire = {
  name: 'openai-embeddings',
  path: '/embeddings',

  parse(body) {
    const fields = parseBody(body, DECISIVE);
    return {
      model: parseModel(fields),
      stream: false,
      usageAsked: false,
      user: parseName(fields.user),
      session: null,
      serviceTier: null,
      // Text has no more tokens than bytes; a token id takes at least a digit and a comma.
      inputTokensMax: BigInt(body.length),
      inputs: countInputs(fields.input),
      inputElsewhere: false,
      inputTokensGuess: countTokenIds(fields.input) ?? guessTokens(body.length),
      outputTokensMax: 0n,
      webSearches: 0n,
      answers: 0n,
    };
  },

  rewrite(body, _asked, { model }) {
    return model === null ? body : edited(body, replaceModel(body, model));
  },

  meter: () => jsonMeter(ANSWER),
};

/** One text or one list of token ids is one input; a list of either is a batch. */
function countInputs(input: unknown): bigint {
  const isBatch = Array.isArray(input) && input.length > 0 && !input.every((item) => typeof item === 'number');
  return isBatch ? BigInt(input.length) : 1n;
}

/** Token ids as input, one list or several, are counted rather than guessed. */
function countTokenIds(input: unknown): bigint | undefined {
  if (!Array.isArray(input) || input.length === 0) return undefined;
  if (input.every((item) => typeof item === 'number')) return BigInt(input.length);
  let total = 0;
  for (const list of input) {
    if (!Array.isArray(list) || !list.every((item) => typeof item === 'number')) return undefined;
    total += list.length;
  }
  return BigInt(total);
}
