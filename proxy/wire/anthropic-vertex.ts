import { anthropicDialect } from './anthropic-dialect.ts';
import { anthropicMessages, askedOf, DECISIVE } from './anthropic-messages.ts';
import { modelInPath, parseBody, parseFlag, parseModel, replaceModel } from './json-request.ts';
import { edited } from './json-span.ts';
import type { Params } from './path-pattern.ts';
import { askedWithoutTokens, FREE_FACTS, SILENT_METER } from './unmetered.ts';
import type { Asked, CallHead, Meter, RequestEdits, Wire } from './wire.ts';

/** Below the address that Anthropic's SDK for Vertex takes. */
const MODELS = '/v1/projects/{project}/locations/{location}/publishers/anthropic/models';

/** Messages as Vertex serves them: the model stands in the path, and so does whether the answer is a stream. */
export const vertexMessages = {
  ...anthropicMessages,
  name: 'vertex-messages',
  family: 'vertex',
  endpoints: [
    { method: 'POST', path: `${MODELS}/{model}:rawPredict` },
    { method: 'POST', path: `${MODELS}/{model}:streamRawPredict` },
  ],
  parse(body: Uint8Array, { path }: CallHead, params: Params): Asked {
    const fields = parseBody(body, DECISIVE);
    const stream = parseFlag(fields, 'stream') === true || path.endsWith(':streamRawPredict');
    return askedOf(body, fields, modelInPath(params), stream);
  },
} as const satisfies Wire;

/** Counts tokens for nothing; here the model stands in the body. */
export const vertexCountTokens = {
  name: 'vertex-count-tokens',
  family: 'vertex',
  dialect: anthropicDialect,
  endpoints: [{ method: 'POST', path: `${MODELS}/count-tokens:rawPredict` }],
  operation: 'count_tokens',
  facts: FREE_FACTS,
  parse: (body: Uint8Array): Asked => askedWithoutTokens(parseModel(parseBody(body, DECISIVE)), 'free'),
  rewrite: (body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array =>
    model === null ? body : edited(body, replaceModel(body, model)),
  meter: (): Meter => SILENT_METER,
} as const satisfies Wire;
