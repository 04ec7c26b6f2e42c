import { countInputs, countTokenIds, parseBody, parseModel, parseName, replaceModel } from './json-request.ts';
import { edited } from './json-span.ts';
import { openaiDialect } from './openai-dialect.ts';
import { answerMembers, jsonMeter } from './openai-json-meter.ts';
import type { Params } from './path-pattern.ts';
import { type Asked, type CallHead, guessTokens, type Meter, NO_COUNTS, type RequestEdits, type Wire } from './wire.ts';

// Vectors are no text: nothing is measured as output.
const ANSWER = answerMembers(null);

const DECISIVE = new Set(['model', 'input']);

/** OpenAI Embeddings: no output tokens, so only the body can cost. */
export const openaiEmbeddings = {
  name: 'openai-embeddings',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'POST', path: '/v1/embeddings' }],
  operation: 'embeddings',
  facts: {
    units: ['input_tokens'],
    usage: '`usage` of the answer',
    estimated: 'input by its size, where no usage comes',
    edited: null,
  },

  parse(body: Uint8Array, _call?: CallHead, params?: Params): Asked {
    const fields = parseBody(body, DECISIVE);
    return {
      model: parseModel(fields, params?.model),
      stream: false,
      metering: 'usage',
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
      answers: 0n,
      bounds: NO_COUNTS,
      fixed: NO_COUNTS,
    };
  },

  rewrite(body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array {
    return model === null ? body : edited(body, replaceModel(body, model));
  },

  meter: (): Meter => jsonMeter(ANSWER),
} as const satisfies Wire;
