import type { Admitted } from '../admission.ts';
import { worstCaseOf } from '../cost.ts';
import type { Hold, HoldState } from '../limits/counters.ts';
import { holdsFor } from '../limits/policy.ts';
import type { Asked } from '../wire/wire.ts';

/** What a call would hold if it could answer less, and how much it could answer for what is there. */

/**
 * The holds of a call that answers so many tokens at most, all answers together. `inputTokens` where they have been
 * counted.
 */
export function holdsAt(admitted: Admitted, outputTokens: bigint): readonly Hold[] {
  const { asked, targets, config, policy, scope, reservation, inputCounted } = admitted;
  const answers = asked.answers > 0n ? asked.answers : 1n;
  const lower = {
    ...asked,
    outputTokensMax: (outputTokens + answers - 1n) / answers,
    ...(inputCounted !== null && { inputTokensMax: inputHeld(asked, inputCounted), inputElsewhere: false }),
  };
  const worst = worstCaseOf(lower, targets, policy.customer, config, reservation.atMs);
  return holdsFor(policy, scope, worst, reservation.atMs, admitted.seeded).holds;
}

/** What a provider may put around a text that was counted: prompts of its own, a template that is not the usual one. */
const UNSEEN_INPUT_TOKENS = 64n;

/** Held for an input that was counted; never more than its bound. */
export function inputHeld({ inputTokensMax }: Pick<Asked, 'inputTokensMax'>, counted: bigint): bigint {
  const held = counted + UNSEEN_INPUT_TOKENS;
  return held < inputTokensMax ? held : inputTokensMax;
}

/** Of a call that is held in parts: quotas hold the part, rates hold the whole from the start, and are never asked again. */
export function heldInParts(whole: readonly Hold[], part: readonly Hold[]): Hold[] {
  return whole.map((hold, i) => (growsWithOutput(hold) ? (part[i] as Hold) : hold));
}

/** A limit that can end a call in its middle. A rate must not: what it lacks now comes back by itself. */
export function growsWithOutput(hold: Hold): boolean {
  return hold.kind === 'quota' && !hold.soft;
}

/** What a limit has left, whatever calls in flight hold of it (`free`), or if they gave all of that back (`unused`). */
export function leftOf(hold: Hold, { used, held }: Pick<HoldState, 'used' | 'held'>): { free: bigint; unused: bigint } {
  const cap = hold.kind === 'rate' ? hold.burst : hold.limit;
  return { free: cap - used - held, unused: cap - used };
}

/** The most output tokens, up to `max`, for which the condition holds: it holds for fewer where it holds for more. Undefined where it does not for any. */
export function mostOutput(max: bigint, holds: (outputTokens: bigint) => boolean): bigint | undefined {
  if (holds(max)) return max;
  if (!holds(0n)) return undefined;
  let low = 0n;
  let high = max;
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}
