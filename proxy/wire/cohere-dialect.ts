import { FAULTS } from '#core/fault.ts';
import { encodeUtf8 } from './bytes.ts';
import {
  type Dialect,
  faultHeaders,
  idHeaders,
  jsonAnswer,
  type ModelSeen,
  REQUEST_ID,
  refusalWords,
} from './dialect.ts';

/** Cohere's words: a message beside an id. Its SDK raises by the status and asks again on every 429. */
export const cohereDialect: Dialect = {
  requestIdHeader: REQUEST_ID,
  paths: ['/v2/'],
  header: null,

  fault(fault, requestId) {
    const headers = [...idHeaders(REQUEST_ID, requestId), ...faultHeaders(fault)];
    const weir = { code: fault.code, request_id: requestId };
    return jsonAnswer(fault.status, headers, { id: requestId, message: fault.message, weir });
  },

  refusal(refusal, requestId) {
    const { sentence, weir, headers } = refusalWords(refusal, requestId);
    // What is used up is told with a status that is not asked again.
    const status = refusal.kind === 'budget' ? 402 : FAULTS[refusal.code].status;
    const all = [...idHeaders(REQUEST_ID, requestId), ...headers];
    return jsonAnswer(status, all, { id: requestId, message: sentence, weir });
  },

  models: (models) => ({ models: models.map(modelAnswer) }),
  model: modelAnswer,
};

function modelAnswer({ id }: ModelSeen): object {
  return { name: id, endpoints: ['chat'] };
}

/** The end of a stream that broke off. */
export function cohereErrorEvent(message: string): Uint8Array {
  const event = { type: 'message-end', delta: { finish_reason: 'ERROR', error: message } };
  return encodeUtf8(`event: message-end\ndata: ${JSON.stringify(event)}\n\n`);
}
