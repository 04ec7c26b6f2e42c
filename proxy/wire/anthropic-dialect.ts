import { FAULTS, type Fault } from '#core/fault.ts';
import { formatInstant } from '#core/time.ts';
import type { Standing } from '../limits/refusal.ts';
import { encodeUtf8 } from './bytes.ts';
import {
  type Dialect,
  faultHeaders,
  idHeaders,
  jsonAnswer,
  type ModelSeen,
  refusalWords,
  tightest,
} from './dialect.ts';

const REQUEST_ID_HEADER = 'request-id';

/**
 * Anthropic's words. Its SDKs choose the class by the status and show `error.type`; our code stands where they look for
 * the cause. The status of a gateway with too much to do is Anthropic's own 529.
 */
export const anthropicDialect: Dialect = {
  requestIdHeader: REQUEST_ID_HEADER,
  paths: ['/v1/messages', '/v1/complete', '/anthropic/'],
  header: 'anthropic-version',

  fault(fault, requestId) {
    const status = BUSY.has(fault.code) ? OVERLOADED_STATUS : fault.status;
    const error = { type: errorTypeOf(status), message: fault.message, details: { error_code: fault.code } };
    return jsonAnswer(
      status,
      [...idHeaders(REQUEST_ID_HEADER, requestId), ...faultHeaders(fault)],
      errorBody(error, requestId),
    );
  },

  refusal(refusal, requestId) {
    const { sentence, weir, headers } = refusalWords(refusal, requestId);
    const status = refusal.kind === 'budget' ? 402 : FAULTS[refusal.code].status;
    const error = { type: errorTypeOf(status), message: sentence, details: { error_code: refusal.code }, weir };
    return jsonAnswer(status, [...idHeaders(REQUEST_ID_HEADER, requestId), ...headers], errorBody(error, requestId));
  },

  addLimits(to, standings) {
    addAnthropicLimits(to, 'requests', tightest(standings, 'requests'));
    addAnthropicLimits(to, 'tokens', tightest(standings, 'tokens'));
  },

  /** On one page, whatever page was asked for. */
  models: (models) => ({
    data: models.map(modelAnswer),
    has_more: false,
    first_id: models[0]?.id ?? null,
    last_id: models.at(-1)?.id ?? null,
  }),
  model: modelAnswer,
};

function addAnthropicLimits(to: string[], kind: string, standing: Standing | undefined): void {
  if (!standing) return;
  const { amount, left, resetAtMs } = standing;
  const name = `anthropic-ratelimit-${kind}`;
  to.push(`${name}-limit`, amount.toString(), `${name}-remaining`, left.toString());
  if (resetAtMs !== null) to.push(`${name}-reset`, formatInstant(resetAtMs));
}

const OVERLOADED_STATUS = 529;
const BUSY: ReadonlySet<Fault['code']> = new Set(['overloaded', 'shutting_down']);

const ERROR_TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
};

function errorTypeOf(status: number): string {
  return ERROR_TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error');
}

function errorBody(error: object, requestId: string | null): object {
  return { type: 'error', error, request_id: requestId };
}

/** Weir does not know when a provider made a model: it is as old as time. */
function modelAnswer({ id }: ModelSeen): object {
  return { type: 'model', id, display_name: id, created_at: '1970-01-01T00:00:00Z' };
}

/** An error inside a stream. */
export function anthropicErrorEvent(message: string, code: string): Uint8Array {
  const body = errorBody({ type: 'api_error', message, details: { error_code: code } }, null);
  return encodeUtf8(`event: error\ndata: ${JSON.stringify(body)}\n\n`);
}
