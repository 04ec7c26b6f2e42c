import { FAULTS, type FaultCode } from '#core/fault.ts';
import { type CallId, type Dialect, faultHeaders, idHeaders, jsonAnswer, REQUEST_ID, refusalWords } from './dialect.ts';
import { openaiDialect } from './openai-dialect.ts';

/**
 * JSON-RPC's words, for MCP and A2A: an error that says again which message it answers, with an HTTP status that says the
 * same. Never 401 for what is used up: that would send clients to log in anew.
 */
export function jsonRpcDialect(paths: readonly string[]): Dialect {
  return {
    requestIdHeader: REQUEST_ID,
    paths,
    header: null,

    fault(fault, requestId, callId = null) {
      const headers = [...idHeaders(REQUEST_ID, requestId), ...faultHeaders(fault)];
      const weir = { code: fault.code, request_id: requestId };
      return jsonAnswer(fault.status, headers, rpcError(callId, codeOf(fault.code, fault.status), fault.message, weir));
    },

    refusal(refusal, requestId, budgetStatus402, callId = null) {
      const { sentence, weir, headers } = refusalWords(refusal, requestId);
      const status = refusal.kind === 'budget' && budgetStatus402 ? 402 : FAULTS[refusal.code].status;
      const all = [...idHeaders(REQUEST_ID, requestId), ...headers];
      return jsonAnswer(status, all, rpcError(callId, codeOf(refusal.code, status), sentence, weir));
    },

    // Tools and agents are in no list of models: these are for callers of another API.
    models: openaiDialect.models,
    model: openaiDialect.model,
  };
}

/** What JSON-RPC and MCP have a number for. */
const CODES: Readonly<Partial<Record<FaultCode, number>>> = {
  invalid_json: -32700,
  invalid_request: -32600,
  header_mismatch: -32020,
};

/** Clear of the numbers that JSON-RPC keeps for itself (-32768 to -32000): -31429 for 429. */
const OURS = -31_000;

function codeOf(code: FaultCode, status: number): number {
  return CODES[code] ?? OURS - status;
}

export function rpcError(id: CallId, code: number, message: string, weir: object): object {
  return { jsonrpc: '2.0', id, error: { code, message, data: { weir } } };
}
