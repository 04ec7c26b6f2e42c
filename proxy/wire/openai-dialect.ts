import { FAULTS, type Fault } from '#core/fault.ts';
import type { LimitKind } from '#core/key-policy.ts';
import type { Standing } from '../limits/refusal.ts';
import { encodeUtf8 } from './bytes.ts';
import {
  type Dialect,
  faultHeaders,
  idHeaders,
  jsonAnswer,
  type ModelSeen,
  REQUEST_ID,
  refusalWords,
  tightest,
} from './dialect.ts';
import type { Place } from './paths-meter.ts';

/** OpenAI's words, which are those of most other servers too: what no other dialect claims is answered in them. */
export const openaiDialect: Dialect = {
  requestIdHeader: REQUEST_ID,
  paths: [],
  header: null,

  fault(fault, requestId) {
    const error = {
      message: fault.message,
      type: fault.status < 500 ? 'invalid_request_error' : 'server_error',
      param: PARAMS[fault.code] ?? null,
      code: CODES[fault.code] ?? fault.code,
      weir: { code: fault.code, request_id: requestId },
    };
    return jsonAnswer(fault.status, [...idHeaders(REQUEST_ID, requestId), ...faultHeaders(fault)], { error });
  },

  refusal(refusal, requestId, budgetStatus402) {
    const isBudget = refusal.kind === 'budget';
    const { sentence, weir, headers } = refusalWords(refusal, requestId);
    const error = {
      message: sentence,
      type: ERROR_TYPES[refusal.kind],
      param: null,
      code: isBudget ? 'insufficient_quota' : 'rate_limit_exceeded',
      weir,
    };
    const status = isBudget && budgetStatus402 ? 402 : FAULTS[refusal.code].status;
    return jsonAnswer(status, [...idHeaders(REQUEST_ID, requestId), ...headers], { error });
  },

  addLimits(to, standings, nowMs) {
    addOpenaiLimits(to, 'requests', tightest(standings, 'requests'), nowMs);
    addOpenaiLimits(to, 'tokens', tightest(standings, 'tokens'), nowMs);
  },

  models: (models) => ({ object: 'list', data: models.map(modelAnswer) }),
  model: modelAnswer,
};

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

const ERROR_TYPES = {
  requests: 'requests',
  tokens: 'tokens',
  concurrency: 'requests',
  budget: 'insufficient_quota',
  quantity: 'requests',
} as const satisfies Record<LimitKind, string>;

function addOpenaiLimits(to: string[], kind: string, standing: Standing | undefined, nowMs: number): void {
  if (!standing) return;
  const { amount, left, resetAtMs } = standing;
  to.push(`x-ratelimit-limit-${kind}`, amount.toString(), `x-ratelimit-remaining-${kind}`, left.toString());
  if (resetAtMs !== null) to.push(`x-ratelimit-reset-${kind}`, goDuration(resetAtMs - nowMs));
}

/** As Go writes a duration: `120ms`, `1.5s`, `6m0s`. */
function goDuration(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms));
  if (whole < 1_000) return `${whole}ms`;
  const seconds = whole / 1_000;
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  const rest = `${Math.round((seconds - minutes * 60) * 1_000) / 1_000}s`;
  return minutes < 60 ? `${minutes}m${rest}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${rest}`;
}

/** Weir does not know when a provider made a model: `created` is 0. */
function modelAnswer({ id, owner }: ModelSeen): object {
  return { id, object: 'model', created: 0, owned_by: owner };
}

/** An error inside a stream, as an event that OpenAI's SDKs throw on. */
export function errorEvent(message: string, code: string): Uint8Array {
  const error = { message, type: 'server_error', param: null, code };
  return encodeUtf8(`data: ${JSON.stringify({ error })}\n\n`);
}

/** The same in streams whose events name their type: of images, speech and transcripts. */
export function typedErrorEvent(message: string, code: string, place: Place): Uint8Array | undefined {
  if (place.kind !== 'sse') return undefined;
  return encodeUtf8(`data: ${JSON.stringify({ type: 'error', error: { message, type: 'server_error', code } })}\n\n`);
}
