import { openaiDialect } from './openai-dialect.ts';
import { ResponseReader } from './openai-response-reader.ts';
import type { Params } from './path-pattern.ts';
import { jsonMeter, sseMeter } from './paths-meter.ts';
import { askedWithoutTokens, FREE_FACTS } from './unmetered.ts';
import { type AnswerHead, type Asked, type CallHead, isEventStream, type Meter, type Wire } from './wire.ts';

/**
 * Responses that OpenAI keeps, looked up, streamed again, cancelled and deleted by whoever made them. None of it is
 * billed; but one that went on in the background may be seen to end here, and its usage is that of the call that made it.
 */
export const openaiStoredResponses = {
  name: 'openai-stored-responses',
  family: 'openai',
  dialect: openaiDialect,
  endpoints: [
    { method: 'GET', path: '/v1/responses/{id}' },
    { method: 'DELETE', path: '/v1/responses/{id}' },
    { method: 'POST', path: '/v1/responses/{id}/cancel' },
    { method: 'GET', path: '/v1/responses/{id}/input_items' },
  ],
  operation: 'responses',
  facts: {
    ...FREE_FACTS,
    usage: 'none of its own: a response that is seen to end settles the call that made it, once',
  },
  parse: (_body: Uint8Array, { query }: CallHead, { id = '' }: Params): Asked => ({
    ...askedWithoutTokens('', 'free'),
    stream: new URLSearchParams(query).get('stream') === 'true',
    object: id,
  }),
  rewrite: (body: Uint8Array): Uint8Array => body,
  meter(asked: Asked, answer: AnswerHead): Meter {
    const stream = isEventStream(answer);
    const reader = new ResponseReader(asked, stream);
    return stream ? sseMeter(reader) : jsonMeter(reader);
  },
} as const satisfies Wire;
