import type { LimitPolicy } from '#core/key-policy.ts';
import { WINDOW_MS } from '#core/key-policy.ts';
import type { Admitted } from './admission.ts';
import type { Hold, HoldState } from './limits/counters.ts';
import { isWindow } from './limits/periods.ts';
import { type Standing, standingOf } from './limits/refusal.ts';

/**
 * What the caller is told beside its answer: where its limits stood when the call was admitted, and what was changed of
 * it. From the counters' answer to that; nobody is asked again. `RateLimit` and `RateLimit-Policy` as
 * draft-ietf-httpapi-ratelimit-headers-11 has them, and what SDKs of the dialect look at.
 */
export function addLimitHeaders(to: string[], admitted: Admitted): void {
  const { outputEach, states, limits, reservation, config, wire } = admitted;
  if (outputEach !== null) to.push('x-weir-max-output-clamped', outputEach.toString());
  if (!states || states.length < limits.length || !config.gateway.limitHeaders) return;
  const standings: Standing[] = [];
  let policies = '';
  let stands = '';
  let warnings = '';
  for (let i = 0; i < limits.length; i++) {
    const limit = limits[i] as LimitPolicy;
    if (limit.mode === 'shadow') continue;
    const hold = reservation.holds[i] as Hold;
    const standing = standingOf(limit, hold, states[i] as HoldState, reservation.atMs);
    standings.push(standing);
    const name = nameOf(limit);
    policies += `${policies === '' ? '' : ', '}${policyOf(standing)}`;
    const { left, resetAtMs } = standing;
    const t = resetAtMs === null ? '' : `;t=${Math.max(0, Math.ceil((resetAtMs - reservation.atMs) / 1000))}`;
    stands += `${stands === '' ? '' : ', '}${name};r=${figureOf(limit, left)}${t}`;
    const warned = warnedOf(limit, hold, standing);
    if (warned !== undefined) warnings += `${warnings === '' ? '' : ', '}${name};at=${warned}`;
  }
  if (stands === '') return;
  to.push('ratelimit-policy', policies, 'ratelimit', stands);
  if (warnings !== '') to.push('x-weir-limit-warning', warnings);
  wire.dialect.addLimits?.(to, standings, reservation.atMs);
}

/** A string of structured fields; ids have no quotes, and what a file could put into one is no header. */
const names = new WeakMap<LimitPolicy, string>();

function nameOf(limit: LimitPolicy): string {
  let name = names.get(limit);
  if (name === undefined) {
    name = `"${limit.id.replace(/[^ !#-[\]-~]/g, '_')}"`;
    names.set(limit, name);
  }
  return name;
}

/** Beyond it there is no integer of structured fields. */
const FIGURE_MAX = 999_999_999_999_999n;
/** A budget is told in millionths of its currency. */
const NANOS_PER_MICRO = 1_000n;

function figureOf(limit: LimitPolicy, amount: bigint): bigint {
  const figure = limit.kind === 'budget' ? amount / NANOS_PER_MICRO : amount;
  return figure < FIGURE_MAX ? figure : FIGURE_MAX;
}

/** What was said of a limit last: it stays until an override begins or ends. */
const policyTexts = new WeakMap<LimitPolicy, { amount: bigint; text: string }>();

function policyOf({ limit, amount }: Standing): string {
  const known = policyTexts.get(limit);
  if (known?.amount === amount) return known.text;
  const window = isWindow(limit.per) ? `;w=${WINDOW_MS[limit.per] / 1000}` : '';
  const text = `${nameOf(limit)};q=${figureOf(limit, amount)}${window}${unitOf(limit)}`;
  policyTexts.set(limit, { amount, text });
  return text;
}

/** `requests` is what the draft takes when nothing is said. */
function unitOf({ kind, unit, currency }: LimitPolicy): string {
  if (kind === 'requests') return '';
  if (kind === 'concurrency') return ';qu="concurrent-requests"';
  if (kind === 'budget') return `;qu="micro-${currency}"`;
  return `;qu="${kind === 'tokens' ? kind : unit}"`;
}

/** The highest threshold that is reached, in percent. */
function warnedOf(limit: LimitPolicy, hold: Hold, { used }: Standing): number | undefined {
  if (hold.kind !== 'quota' || !hold.warnAt || !limit.warnAt) return undefined;
  const reached = hold.warnAt.findLastIndex((threshold) => used >= threshold);
  return limit.warnAt[reached];
}
