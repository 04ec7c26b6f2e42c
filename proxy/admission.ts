import type { Config } from '#config/config.ts';
import type { KeyPolicy, LimitPolicy } from '#core/key-policy.ts';
import { labelsOf, textHeader } from './caller.ts';
import { type WorstCase, worstCaseOf } from './cost.ts';
import type { Flight } from './flight.ts';
import type { Reservation } from './limits/counters.ts';
import { holdsFor } from './limits/policy.ts';
import type { CallSeen } from './observer.ts';
import type { Match } from './routes.ts';
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
}

export interface Admitted extends Decided {
  readonly endpoint: string;
  readonly seen: CallSeen;
  readonly user: string | null;
  readonly session: string | null;
  readonly labels: Record<string, string>;
  readonly worst: WorstCase;
  /** Those that the call comes under, one for each hold of the reservation. */
  readonly limits: readonly LimitPolicy[];
  readonly reservation: Reservation;
}

/** A hold outlives its call by this much, so that no lease ends under a call that is about to settle. */
const LEASE_MARGIN_MS = 60_000;

/** How long a call that begins now can hold what it has reserved. */
export function leaseMsOf({ callTimeoutMs }: Config['gateway']): number {
  return callTimeoutMs + LEASE_MARGIN_MS;
}

/** Everything that the reservation, the attempts and the event need. Throws `invalid_request` and `unpriced_model`. */
export function admit({ id, atMs, call }: Flight, decided: Decided): Admitted {
  const { config, policy, wire, asked, targets } = decided;
  const { headers } = call;
  const worst = worstCaseOf(asked, targets, policy.customer, config, atMs);
  const user = textHeader(headers, 'x-weir-user') ?? asked.user;
  const session = textHeader(headers, 'x-weir-session') ?? asked.session;
  const labels = labelsOf(headers, policy);
  const { limits, holds } = holdsFor(policy, { model: asked.model, user, session, labels }, worst, atMs);
  return {
    ...decided,
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
    worst,
    limits,
    reservation: {
      id,
      customer: policy.customer,
      atMs,
      leaseMs: leaseMsOf(config.gateway),
      holds,
    },
  };
}
