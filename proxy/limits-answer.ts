import { formatScaled } from '#core/exact.ts';
import type { KeyPolicy, LimitPolicy } from '#core/key-policy.ts';
import { formatInstant } from '#core/time.ts';
import { labelsOf, textHeader } from './caller.ts';
import type { Flight } from './flight.ts';
import type { CounterBook, Hold } from './limits/counters.ts';
import type { WorstUse } from './limits/measure.ts';
import { type CallScope, holdsFor } from './limits/policy.ts';
import { standingOf } from './limits/refusal.ts';

const NANOS_SCALE = 9;

/**
 * `GET /v1/limits`: where every limit of the caller's key stands. Limits that count each user, session or label by itself
 * are those of the call's own headers; those that count each model by itself, of the model in the query.
 */
export async function limitsAnswer(
  { atMs, call }: Flight,
  policy: KeyPolicy,
  counters: Pick<CounterBook, 'read'>,
): Promise<object> {
  const scope: CallScope = {
    model: new URLSearchParams(call.query).get('model') ?? '',
    user: textHeader(call.headers, 'x-weir-user'),
    session: textHeader(call.headers, 'x-weir-session'),
    labels: labelsOf(call.headers, policy),
  };
  // What only the operator counts is nobody else's business.
  const seen = policy.limits.filter((limit) => limit.mode !== 'shadow');
  const data = await Promise.all(
    seen
      .flatMap((limit) => holdOf(policy, limit, scope, atMs).map((hold) => ({ limit, hold })))
      .map(async ({ limit, hold }) => {
        const state = await counters.read(policy.customer, hold.counter);
        return limitAnswer(limit, hold, state, atMs);
      }),
  );
  return { object: 'list', data };
}

/** As a call would meet it that comes under it and uses nothing; none for a limit of sessions without a session. */
function holdOf(policy: KeyPolicy, limit: LimitPolicy, scope: CallScope, atMs: number): readonly Hold[] {
  const { models: _models, labels: _labels, ...everyCall } = limit;
  const nothing: WorstUse = { inputTokens: 0n, outputTokens: 0n, costNanos: 0n, currency: limit.currency ?? '' };
  return holdsFor({ ...policy, limits: [everyCall] }, scope, nothing, atMs).holds;
}

function limitAnswer(limit: LimitPolicy, hold: Hold, state: { used: bigint; held: bigint }, atMs: number): object {
  const { amount, used, held, left, resetAtMs } = standingOf(limit, hold, { ...state, fits: true, waitMs: 0 }, atMs);
  const show = (figure: bigint): string =>
    limit.kind === 'budget' ? formatScaled(figure, NANOS_SCALE) : figure.toString();
  return {
    id: limit.id,
    scope: limit.scope,
    kind: limit.kind,
    unit: limit.unit ?? null,
    per: limit.per,
    mode: limit.mode ?? 'hard',
    models: limit.models ?? [],
    labels: limit.labels ?? {},
    by: limit.by ?? null,
    currency: limit.currency,
    amount: show(amount),
    used: show(used),
    reserved: show(held),
    left: show(left),
    resets_at: resetAtMs === null ? null : formatInstant(resetAtMs),
  };
}
