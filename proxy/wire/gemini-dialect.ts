import { FAULTS, type Fault } from '#core/fault.ts';
import type { Refusal } from '../limits/refusal.ts';
import { encodeUtf8 } from './bytes.ts';
import {
  type Dialect,
  type ErrorAnswer,
  faultHeaders,
  idHeaders,
  jsonAnswer,
  type ModelSeen,
  REQUEST_ID,
  refusalWords,
} from './dialect.ts';

/**
 * Google's words (google.rpc.Status), for the Gemini API and Vertex. Its SDKs show the whole body, raise by the status,
 * and ask again only where they are told to; when to is in the body alone.
 */
export const geminiDialect: Dialect = {
  requestIdHeader: REQUEST_ID,
  paths: ['/v1beta/', '/v1alpha/', '/v1beta1/', '/v1/projects/', '/v1/publishers/', '/upload/', '/ws/google.'],
  header: 'x-goog-api-key',

  fault(fault, requestId) {
    const headers = [...idHeaders(REQUEST_ID, requestId), ...faultHeaders(fault)];
    const details = [errorInfo(fault.code, requestId === null ? {} : { request_id: requestId })];
    return jsonAnswer(fault.status, headers, statusBody(fault.status, fault.message, details));
  },

  refusal,
  models: (models) => ({ models: models.map(modelAnswer) }),
  model: modelAnswer,
};

/** Interactions are asked again by Google's SDK on every 429, so what is used up is told with another status. */
export const interactionsDialect: Dialect = {
  ...geminiDialect,
  refusal: (denied, requestId, budgetStatus402) =>
    refusal(denied, requestId, budgetStatus402 || denied.kind === 'budget'),
};

function refusal(denied: Refusal, requestId: string, budgetStatus402: boolean): ErrorAnswer {
  const { sentence, weir, headers, retryAfterMs } = refusalWords(denied, requestId);
  const status = denied.kind === 'budget' && budgetStatus402 ? 402 : FAULTS[denied.code].status;
  const details: object[] = [
    errorInfo(denied.code, textOnly(weir)),
    {
      '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
      violations: [{ subject: denied.scope, description: sentence, quotaId: denied.limit }],
    },
  ];
  if (retryAfterMs !== null) {
    details.push({ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: `${retryAfterMs / 1_000}s` });
  }
  const all = [...idHeaders(REQUEST_ID, requestId), ...headers];
  return jsonAnswer(status, all, statusBody(status, sentence, details));
}

function statusBody(code: number, message: string, details: readonly object[]): object {
  return {
    error: { code, message, status: NAMES[code] ?? (code < 500 ? 'FAILED_PRECONDITION' : 'INTERNAL'), details },
  };
}

const NAMES: Readonly<Record<number, string>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  402: 'RESOURCE_EXHAUSTED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  405: 'UNIMPLEMENTED',
  408: 'DEADLINE_EXCEEDED',
  409: 'ABORTED',
  413: 'INVALID_ARGUMENT',
  429: 'RESOURCE_EXHAUSTED',
  431: 'INVALID_ARGUMENT',
  500: 'INTERNAL',
  502: 'UNAVAILABLE',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
};

function errorInfo(code: Fault['code'], metadata: object): object {
  return {
    '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
    reason: code.toUpperCase(),
    domain: 'weir',
    metadata,
  };
}

/** Their metadata is a map from text to text. */
function textOnly(figures: object): Record<string, string> {
  return Object.fromEntries(
    Object.entries(figures).flatMap(([name, value]) => (value === null ? [] : [[name, String(value)]])),
  );
}

function modelAnswer({ id }: ModelSeen): object {
  return {
    name: `models/${id}`,
    baseModelId: id,
    displayName: id,
    supportedGenerationMethods: ['generateContent', 'countTokens'],
  };
}

/** An error inside an event stream: Google's SDKs throw on an event that holds one. */
export function geminiErrorEvent(message: string, code: string): Uint8Array {
  return encodeUtf8(`data: ${broken(message, code)}\r\n\r\n`);
}

/** An error as the last element of a list, which it closes. */
export function geminiErrorElement(message: string, code: string, comma: boolean): Uint8Array {
  return encodeUtf8(`${comma ? ',\r\n' : ''}${broken(message, code)}\r\n]`);
}

function broken(message: string, code: string): string {
  const status = code === 'budget_exhausted' || code === 'rate_limited' ? 429 : 500;
  const info = { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: code.toUpperCase(), domain: 'weir' };
  return JSON.stringify(statusBody(status, message, [info]));
}
