import type { Config } from '#config/config.ts';
import type { KeyPolicy, LimitPolicy } from '#core/key-policy.ts';
import { labelsOf, textHeader } from './caller.ts';
import { worstCaseOf } from './cost.ts';
import type { Flight } from './flight.ts';
import type { Hold, HoldState, Reservation } from './limits/counters.ts';
import { isWindow } from './limits/periods.ts';
import { type CallScope, holdsFor } from './limits/policy.ts';
import type { CallSeen } from './observer.ts';
import { growsWithOutput, heldInParts, holdsAt } from './reserving/holding.ts';
import type { Rooms } from './reserving/rooms.ts';
import type { Match } from './routes.ts';
import type { StoredObject } from './stored/stored.ts';
import { traceOf } from './trace.ts';
import type { Target } from './upstream/route-table.ts';
import type { Asked, Wire } from './wire/wire.ts';

/** What has been decided about a call before it is held and sent. It keeps the configuration that it began with. */
export interface Decided {
  readonly config: Config;
  readonly policy: KeyPolicy;
  readonly match: Match;
  readonly wire: Wire;
  readonly body: Uint8Array;
  readonly asked: Asked;
  readonly targets: readonly Target[];
  /** What its path names of what a provider keeps. */
  readonly object?: StoredObject | undefined;
  /** How long the call's holds outlive its gateway. */
  readonly leaseMs: number;
  /** Somebody can say what quotas have used: counts that are not known are not trusted. */
  readonly seeded: boolean;
}

export interface Admitted extends Decided {
  readonly endpoint: string;
  readonly seen: CallSeen;
  readonly user: string | null;
  readonly session: string | null;
  readonly labels: Record<string, string>;
  /** What its limits tell it apart by. */
  readonly scope: CallScope;
  /** Those that the call comes under, one for each hold of the reservation. */
  limits: readonly LimitPolicy[];
  /** What it holds, as it stands. */
  reservation: Reservation;
  /** The holds of all that the call could come to when it was admitted. */
  readonly whole: readonly Hold[];
  /** The most output tokens that it can come to, all answers together. */
  outputMax: bigint;
  /** The maximum of each answer that stands in for what the caller asked; null while that stands. */
  outputEach: bigint | null;
  /** Output tokens that a stream holds so far, where it holds a part of what it may answer; null where it holds the whole. */
  part: bigint | null;
  /** Really counted, once the bound was too coarse. */
  inputCounted: bigint | null;
  /** Where its limits stood when it was admitted. */
  states: readonly HoldState[] | null;
}

/** Beyond the longest call: so that no lease ends under one that is about to settle. */
const CALL_MARGIN_MS = 60_000;

/** How long a call that begins now may be in flight. */
export function callMsMax({ callTimeoutMs }: Config['gateway']): number {
  return callTimeoutMs + CALL_MARGIN_MS;
}

/** Everything that the reservation, the attempts and the event need. Throws `invalid_request` and `unpriced_model`. */
export function admit({ id, atMs, call }: Flight, decided: Decided, rooms: Rooms): Admitted {
  const { config, wire, asked, targets, leaseMs } = decided;
  const policy = asked.atLeisure ? withoutSpeed(decided.policy) : decided.policy;
  const { headers } = call;
  const worst = worstCaseOf(asked, targets, policy.customer, config, atMs);
  const user = textHeader(headers, 'x-weir-user') ?? asked.user;
  const session = textHeader(headers, 'x-weir-session') ?? asked.session;
  const labels = labelsOf(headers, policy);
  const scope = { model: asked.model, user, session, labels };
  const { limits, holds } = holdsFor(policy, scope, worst, atMs, decided.seeded);
  const admitted: Admitted = {
    ...decided,
    policy,
    endpoint: call.path,
    seen: {
      id,
      atMs,
      customer: policy.customer,
      key: policy.key,
      wire: wire.name,
      model: asked.model,
      stream: asked.stream,
      trace: traceOf(headers),
    },
    user,
    session,
    labels,
    scope,
    limits,
    reservation: {
      id,
      customer: policy.customer,
      atMs,
      leaseMs,
      holds,
    },
    whole: holds,
    outputMax: worst.outputTokens,
    outputEach: null,
    part: null,
    inputCounted: null,
    states: null,
  };
  if (asked.stream && wire.showsOutput && asked.hidesOutput !== true && holds.some(growsWithOutput))
    holdFirstPart(admitted, rooms);
  return admitted;
}

/** How fast a provider works a batch off is its own business: money, totals and how often it is asked still count. */
function withoutSpeed(policy: KeyPolicy): KeyPolicy {
  const limits = policy.limits.filter(
    ({ kind, per }) => kind === 'budget' || kind === 'requests' || (per !== null && !isWindow(per)),
  );
  return { ...policy, limits };
}

/** A stream whose output shows as it comes need not hold all of it from the start, unless that is little. */
function holdFirstPart(admitted: Admitted, rooms: Rooms): void {
  const { wire, asked, targets, policy, whole, outputMax, reservation } = admitted;
  const part = rooms.firstPart(policy, whole, outputMax);
  if (part === outputMax || !targets.every(({ model }) => wire.showsOutput?.(model ?? asked.model))) return;
  admitted.part = part;
  reservation.holds = heldInParts(whole, holdsAt(admitted, part));
}
