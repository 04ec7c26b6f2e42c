import { anthropicDialect } from './anthropic-dialect.ts';
import { parseBody, parseModel, replaceModel } from './json-request.ts';
import { edited } from './json-span.ts';
import { askedWithoutTokens, FREE_FACTS, SILENT_METER } from './unmetered.ts';
import type { Asked, Meter, RequestEdits, Wire } from './wire.ts';

const DECISIVE = new Set(['model']);

/** Counts the tokens of a message that is not sent: the provider bills nothing for it. */
export const anthropicCountTokens = {
  name: 'anthropic-count-tokens',
  family: 'anthropic',
  dialect: anthropicDialect,
  endpoints: [{ method: 'POST', path: '/v1/messages/count_tokens' }],
  operation: 'count_tokens',
  facts: FREE_FACTS,
  parse: (body: Uint8Array): Asked => askedWithoutTokens(parseModel(parseBody(body, DECISIVE)), 'free'),
  rewrite: (body: Uint8Array, _asked: Asked, { model }: RequestEdits): Uint8Array =>
    model === null ? body : edited(body, replaceModel(body, model)),
  meter: (): Meter => SILENT_METER,
} as const satisfies Wire;
