import { formatScaled } from '#core/exact.ts';
import { FAULTS, type Fault } from '#core/fault.ts';
import type { LimitKind } from '#core/key-policy.ts';
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

/** Budgets are held in 10^-9 of the currency's unit. */
const NANOS_SCALE = 9;

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
  model_halted: 'model',
  unpriced_model: 'model',
};

/** Nothing will change by asking again. */
const FINAL: ReadonlySet<Fault['code']> = new Set(['unpriced_model', 'upstream_unauthorized', 'model_halted']);
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

/** How long a client should wait where room comes from calls that end, and nobody knows when they do. */
const ROOM_RETRY_MS = 1_000;

const ERROR_TYPES = {
  requests: 'requests',
  tokens: 'tokens',
  concurrency: 'requests',
  budget: 'insufficient_quota',
} as const satisfies Record<LimitKind, string>;

/** A limit said no. Exact waiting times where time makes room, and no retries where asking again is in vain. */
export function refusalAnswer(refusal: Refusal, requestId: string, budgetStatus402: boolean): ErrorAnswer {
  const isBudget = refusal.kind === 'budget';
  const final = isBudget || refusal.final;
  const retryAfterMs = final ? null : (refusal.retryAfterMs ?? ROOM_RETRY_MS);
  const headers = ['content-type', 'application/json', 'x-request-id', requestId];
  if (retryAfterMs === null) headers.push('x-should-retry', 'false');
  else headers.push('retry-after', String(Math.ceil(retryAfterMs / 1000)), 'retry-after-ms', String(retryAfterMs));
  const show = (figure: bigint): string => (isBudget ? formatScaled(figure, NANOS_SCALE) : figure.toString());
  const figures = {
    amount: show(refusal.amount),
    used: show(refusal.used),
    reserved: show(refusal.held),
    left: show(refusal.left),
    wanted: show(refusal.wanted),
    resets_at: refusal.resetAtMs === null ? null : formatInstant(refusal.resetAtMs),
  };
  const body = {
    error: {
      message: sentenceOf(refusal, figures),
      type: ERROR_TYPES[refusal.kind],
      param: null,
      code: isBudget ? 'insufficient_quota' : 'rate_limit_exceeded',
      weir: {
        code: refusal.code,
        request_id: requestId,
        limit: refusal.limit,
        scope: refusal.scope,
        kind: refusal.kind,
        per: refusal.per,
        currency: refusal.currency,
        ...figures,
        retry_after_ms: retryAfterMs,
      },
    },
  };
  return {
    status: isBudget && budgetStatus402 ? 402 : FAULTS[refusal.code].status,
    headers,
    body: encodeUtf8(`${JSON.stringify(body)}\n`),
  };
}

function sentenceOf(
  { code, limit, scope, kind, per, currency, final }: Refusal,
  { amount, used, reserved, left, wanted, resets_at }: Readonly<Record<string, string | null>>,
): string {
  const unit = kind === 'budget' ? ` ${currency}` : kind === 'concurrency' ? ' calls' : ` ${kind}`;
  const parts = [
    `${FAULTS[code].text} Limit '${limit}' of this ${scope}: ${amount}${unit}${per === null ? '' : ` per ${per}`};`,
    `used ${used}, reserved by calls in flight ${reserved}, left ${left}; this call may need ${wanted}.`,
  ];
  if (kind !== 'budget' && final) parts.push('It can never fit: ask for less.');
  else if (resets_at !== null) parts.push(`Resets at ${resets_at}.`);
  return parts.join(' ');
}
