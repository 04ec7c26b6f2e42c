import { anthropicDialect } from './anthropic-dialect.ts';
import { MadeReader, type MadeWords } from './made-reader.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter } from './paths-meter.ts';
import { askedWithoutTokens, FREE_FACTS, SILENT_METER } from './unmetered.ts';
import type { Asked, CallHead, Meter, Wire } from './wire.ts';

/**
 * Files that Anthropic keeps for later messages, each for the customer who sent it. Keeping them costs nothing. Their
 * paths are those of OpenAI's files: the header that Anthropic's clients always send tells them apart.
 */
export const anthropicFiles = {
  name: 'anthropic-files',
  family: 'anthropic',
  dialect: anthropicDialect,
  endpoints: [
    { method: 'POST', path: '/v1/files' },
    { method: 'GET', path: '/v1/files/{id}' },
    { method: 'DELETE', path: '/v1/files/{id}' },
    { method: 'GET', path: '/v1/files/{id}/content' },
  ],
  operation: 'files',
  facts: FREE_FACTS,
  parse: (_body: Uint8Array, _call: CallHead, { id }: Params): Asked => ({
    ...askedWithoutTokens('', 'free'),
    ...(id === undefined ? { makes: 'file' } : { object: id }),
  }),
  rewrite: (body: Uint8Array): Uint8Array => body,
  meter: ({ object }: Asked): Meter => (object === undefined ? jsonMeter(new MadeReader(FILE)) : SILENT_METER),
} as const satisfies Wire;

/** A file is what it is from the start. */
const FILE: MadeWords = { id: 'id', state: 'type', over: new Set(['file']), files: [] };
