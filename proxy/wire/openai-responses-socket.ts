import { openaiResponses } from './openai-responses.ts';
import { ResponsesTalk } from './openai-responses-talk.ts';
import { refusePlain } from './socket-wire.ts';
import type { Asked, CallHead, Wire } from './wire.ts';

const { showsOutput: _heldWhole, ...responses } = openaiResponses;

/** OpenAI Responses on a socket that stays open: the same requests and events as over HTTP, in lanes. */
export const openaiResponsesSocket: Wire = {
  ...responses,
  endpoints: [{ method: 'GET', path: '/v1/responses' }],
  parse: (_body: Uint8Array, call: CallHead): Asked => refusePlain(call),
  socket: {
    protocols: [],
    talk: ({ path }: CallHead) => new ResponsesTalk(path),
  },
};

export const azureResponsesSocket: Wire = {
  ...openaiResponsesSocket,
  family: 'azure',
  otherFamily: 'openai',
  endpoints: [{ method: 'GET', path: '/openai/v1/responses' }],
};
