import { parseBody, parseName, replaceModel } from './json-request.ts';
import { edited } from './json-span.ts';
import { openaiDialect } from './openai-dialect.ts';
import { askedWithoutTokens, FREE_FACTS, SILENT_METER } from './unmetered.ts';
import type { Asked, Meter, RequestEdits, Wire } from './wire.ts';

const DECISIVE = new Set(['model']);
/** What OpenAI takes where the request names none. */
const MODEL_INITIAL = 'omni-moderation-latest';

/** OpenAI Moderations: nothing is billed for them. */
export const openaiModerations = {
  name: 'openai-moderations',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [{ method: 'POST', path: '/v1/moderations' }],
  operation: 'moderation',
  facts: FREE_FACTS,
  parse: (body: Uint8Array): Asked =>
    askedWithoutTokens(parseName(parseBody(body, DECISIVE).model) ?? MODEL_INITIAL, 'free'),
  rewrite: (body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array =>
    model === null ? body : edited(body, replaceModel(body, model)),
  meter: (): Meter => SILENT_METER,
} as const satisfies Wire;
