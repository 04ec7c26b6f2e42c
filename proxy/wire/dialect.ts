import { formatScaled } from '#core/exact.ts';
import { FAULTS, type Fault } from '#core/fault.ts';
import { formatInstant } from '#core/time.ts';
import { isWindow } from '../limits/periods.ts';
import type { Refusal, Standing } from '../limits/refusal.ts';
import { encodeUtf8 } from './bytes.ts';

/** What an API's own message calls itself, where its answer must say it again (JSON-RPC). */
export type CallId = string | number | null;

/**
 * How an API speaks of everything but its answers: faults and refusals, so that its SDKs raise the class that their
 * callers expect, and lists of models. One for each API that callers speak; what is ours stands apart in it, under
 * `weir`. Errors inside a stream are the wire's own (`Meter.breakOff`).
 */
export interface Dialect {
  /** Where its SDKs look for the id of a request. */
  readonly requestIdHeader: string;
  /** Paths that are asked for in it, by their beginning, for answers to what is at no path of a wire. */
  readonly paths: readonly string[];
  /** A header that only its callers send; null when there is none. */
  readonly header: string | null;
  /** `requestId` is null where there is no request yet, `callId` where the caller's message has none that is known. */
  fault(fault: Fault, requestId: string | null, callId?: CallId): ErrorAnswer;
  refusal(refusal: Refusal, requestId: string, budgetStatus402: boolean, callId?: CallId): ErrorAnswer;
  /** Where the caller's limits stand, in headers that its SDKs look at; without it they have none of their own. */
  addLimits?(to: string[], standings: readonly Standing[], nowMs: number): void;
  models(models: readonly ModelSeen[]): object;
  model(model: ModelSeen): object;
}

export interface ErrorAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
}

/** A model that a key may use. */
export interface ModelSeen {
  readonly id: string;
  readonly owner: string;
}

/** Nothing will change by asking again. */
const FINAL: ReadonlySet<Fault['code']> = new Set(['unpriced_model', 'upstream_unauthorized', 'model_halted']);
/** A moment later it may be another gateway, or a calmer one. */
const RETRY_AFTER_SECONDS: Readonly<Partial<Record<Fault['code'], number>>> = {
  overloaded: 1,
  shutting_down: 1,
  limits_unavailable: 1,
  journal_unavailable: 1,
};

/** `requestIdHeader` beside `x-request-id`, where a dialect has one of its own. */
export function idHeaders(requestIdHeader: string, requestId: string | null): string[] {
  if (requestId === null) return [];
  return requestIdHeader === REQUEST_ID ? [REQUEST_ID, requestId] : [REQUEST_ID, requestId, requestIdHeader, requestId];
}

/** Ours stands there in every dialect. */
export const REQUEST_ID = 'x-request-id';

export function faultHeaders(fault: Fault): string[] {
  const headers: string[] = [];
  const retryAfter = RETRY_AFTER_SECONDS[fault.code];
  if (retryAfter !== undefined) headers.push('retry-after', String(retryAfter));
  if (FINAL.has(fault.code)) headers.push('x-should-retry', 'false');
  return headers;
}

/** JSON with the headers that say so. */
export function jsonAnswer(status: number, headers: readonly string[], body: object): ErrorAnswer {
  return {
    status,
    headers: ['content-type', 'application/json', ...headers],
    body: encodeUtf8(`${JSON.stringify(body)}\n`),
  };
}

/** Of several limits of a kind the one that has least left, counted per window: what an SDK calls a rate limit. */
export function tightest(standings: readonly Standing[], kind: Standing['limit']['kind']): Standing | undefined {
  let found: Standing | undefined;
  for (const standing of standings) {
    const { limit, left } = standing;
    if (limit.kind === kind && isWindow(limit.per) && (!found || left < found.left)) found = standing;
  }
  return found;
}

/** Budgets are held in 10^-9 of the currency's unit. */
const NANOS_SCALE = 9;
/** How long a client should wait where room comes from calls that end, and nobody knows when they do. */
const ROOM_RETRY_MS = 1_000;

/** What every dialect says of a refusal: one sentence for people, the figures for programs, and when to ask again. */
export interface RefusalWords {
  readonly sentence: string;
  readonly weir: object;
  readonly headers: readonly string[];
  /** Null where asking again is in vain. */
  readonly retryAfterMs: number | null;
}

/** Exact waiting times where time makes room, and no retries where asking again is in vain. */
export function refusalWords(refusal: Refusal, requestId: string): RefusalWords {
  const isBudget = refusal.kind === 'budget';
  const retryAfterMs = isBudget || refusal.final ? null : (refusal.retryAfterMs ?? ROOM_RETRY_MS);
  const show = (figure: bigint): string => (isBudget ? formatScaled(figure, NANOS_SCALE) : figure.toString());
  const figures = {
    amount: show(refusal.amount),
    used: show(refusal.used),
    reserved: show(refusal.held),
    left: show(refusal.left),
    wanted: show(refusal.wanted),
    resets_at: refusal.resetAtMs === null ? null : formatInstant(refusal.resetAtMs),
  };
  return {
    sentence: sentenceOf(refusal, figures),
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
    headers:
      retryAfterMs === null
        ? ['x-should-retry', 'false']
        : ['retry-after', String(Math.ceil(retryAfterMs / 1000)), 'retry-after-ms', String(retryAfterMs)],
    retryAfterMs,
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
