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

/** Ollama's words: one text. Its clients raise with it, by the status, and never ask again. */
export const ollamaDialect: Dialect = {
  requestIdHeader: REQUEST_ID,
  paths: ['/api/'],
  header: null,

  fault(fault, requestId) {
    const headers = [...idHeaders(REQUEST_ID, requestId), ...faultHeaders(fault)];
    return jsonAnswer(fault.status, headers, {
      error: fault.message,
      weir: { code: fault.code, request_id: requestId },
    });
  },

  refusal(refusal, requestId, budgetStatus402) {
    const { sentence, weir, headers } = refusalWords(refusal, requestId);
    const status = refusal.kind === 'budget' && budgetStatus402 ? 402 : FAULTS[refusal.code].status;
    return jsonAnswer(status, [...idHeaders(REQUEST_ID, requestId), ...headers], { error: sentence, weir });
  },

  models: (models) => ({ models: models.map(modelAnswer) }),
  model: modelAnswer,
};

function modelAnswer({ id }: ModelSeen): object {
  return { name: id, model: id, modified_at: '1970-01-01T00:00:00Z', size: 0, digest: '', details: {} };
}

/** An error as a line of its own: its clients throw on it. */
export function ollamaErrorLine(message: string, lineOpen: boolean): Uint8Array {
  return encodeUtf8(`${lineOpen ? '\n' : ''}${JSON.stringify({ error: message })}\n`);
}
