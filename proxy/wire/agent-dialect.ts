import { FAULTS } from '#core/fault.ts';
import { encodeUtf8 } from './bytes.ts';
import { type Dialect, type ErrorAnswer, faultHeaders, idHeaders, REQUEST_ID, refusalWords } from './dialect.ts';
import { openaiDialect } from './openai-dialect.ts';

/** Of agents that have no protocol of their own: problems as RFC 9457 has them. */
export const agentDialect: Dialect = {
  requestIdHeader: REQUEST_ID,
  paths: ['/agents/'],
  header: null,

  fault(fault, requestId) {
    const headers = [...idHeaders(REQUEST_ID, requestId), ...faultHeaders(fault)];
    const weir = { code: fault.code, request_id: requestId };
    return problem(fault.status, headers, {
      code: fault.code,
      title: FAULTS[fault.code].text,
      detail: fault.message,
      weir,
    });
  },

  refusal(refusal, requestId, budgetStatus402) {
    const { sentence, weir, headers } = refusalWords(refusal, requestId);
    const status = refusal.kind === 'budget' && budgetStatus402 ? 402 : FAULTS[refusal.code].status;
    const all = [...idHeaders(REQUEST_ID, requestId), ...headers];
    return problem(status, all, { code: refusal.code, title: FAULTS[refusal.code].text, detail: sentence, weir });
  },

  // Agents are in no list of models: these are for callers of another API.
  models: openaiDialect.models,
  model: openaiDialect.model,
};

function problem(status: number, headers: readonly string[], fields: object): ErrorAnswer {
  return {
    status,
    headers: ['content-type', 'application/problem+json', ...headers],
    body: encodeUtf8(`${JSON.stringify({ type: 'about:blank', status, ...fields })}\n`),
  };
}
