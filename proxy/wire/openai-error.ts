import type { Fault } from '#core/fault.ts';
import { formatInstant } from '#core/time.ts';
import type { Refusal } from '../limits/policy.ts';
import { encodeUtf8 } from './bytes.ts';

/**
 * Faults and refusals in OpenAI's words, so that its SDKs raise the class that their callers expect. What is ours
 * stands apart, under `error.weir`.
 */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
}

/** Where OpenAI has a code of its own for the same thing; everything else keeps ours. */
const CODES: Readonly<Partial<Record<Fault['code'], string>>> = {
  missing_key: 'invalid_api_key',
  invalid_key: 'invalid_api_key',
  expired_key: 'invalid_api_key',
  revoked_key: 'invalid_api_key',
};

const PARAMS: Readonly<Partial<Record<Fault['code'], string>>> = {
  model_not_found: 'model',
  model_not_allowed: 'model',
  unpriced_model: 'model',
};

/** Nothing will change by asking again. */
const FINAL: ReadonlySet<Fault['code']> = new Set(['unpriced_model', 'upstream_unauthorized']);
/** A moment later it may be another gateway, or a calmer one. */
const RETRY_AFTER_SECONDS: Readonly<Partial<Record<Fault['code'], number>>> = {
  overloaded: 1,
  shutting_down: 1,
  limits_unavailable: 1,
  journal_unavailable: 1,
};

/** `requestId` is null where there is no request yet. */
export function faultAnswer(fault: Fault, requestId: string | null): ErrorAnswer {
  const headers = ['content-type', 'application/json'];
  if (requestId !== null) headers.push('x-request-id', requestId);
  const retryAfter = RETRY_AFTER_SECONDS[fault.code];
  if (retryAfter !== undefined) headers.push('retry-after', String(retryAfter));
  if (FINAL.has(fault.code)) headers.push('x-should-retry', 'false');
  const body = {
    error: {
      message: fault.message,
      type: fault.status < 500 ? 'invalid_request_error' : 'server_error',
      param: PARAMS[fault.code] ?? null,
      code: CODES[fault.code] ?? fault.code,
      weir: { code: fault.code, request_id: requestId },
    },
  };
  return { status: fault.status, headers, body: encodeUtf8(`${JSON.stringify(body)}\n`) };
}

/** An error inside a stream, as an event that OpenAI's SDKs throw on. */
export function errorEvent(message: string, code: string): Uint8Array {
  const error = { message, type: 'server_error', param: null, code };
  return encodeUtf8(`data: ${JSON.stringify({ error })}\n\n`);
}

/** How long a client waits before it tries again where only other calls, not time, make room. */
const CONCURRENCY_RETRY_MS = 1_000;

/** A limit said no. Exact waiting times for rates, no waiting for what time alone does not mend. */
export function refusalAnswer(refusal: Refusal, requestId: string, budgetStatus402: boolean): ErrorAnswer {
  const { limit } = refusal;
  const isBudget = refusal.code === 'budget_exhausted';
  const retryAfterMs = refusal.code === 'concurrency_limited' ? CONCURRENCY_RETRY_MS : refusal.retryAfterMs;
  const headers = ['content-type', 'application/json', 'x-request-id', requestId];
  if (isBudget || retryAfterMs === null) headers.push('x-should-retry', 'false');
  else headers.push('retry-after', String(Math.ceil(retryAfterMs / 1000)), 'retry-after-ms', String(retryAfterMs));
  const body = {
    error: {
      message: refusal.message,
      type: isBudget ? 'insufficient_quota' : limit.kind === 'tokens' ? 'tokens' : 'requests',
      param: null,
      code: isBudget ? 'insufficient_quota' : 'rate_limit_exceeded',
      weir: {
        code: refusal.code,
        request_id: requestId,
        limit: limit.id,
        scope: limit.scope,
        kind: limit.kind,
        amount: refusal.amount,
        per: limit.per,
        currency: limit.currency,
        used: refusal.used,
        reserved: refusal.held,
        left: refusal.left,
        resets_at: refusal.resetsAtMs === null ? null : formatInstant(refusal.resetsAtMs),
        retry_after_ms: isBudget ? null : retryAfterMs,
      },
    },
  };
  const status = isBudget && budgetStatus402 ? 402 : 429;
  return { status, headers, body: encodeUtf8(`${JSON.stringify(body)}\n`) };
}
