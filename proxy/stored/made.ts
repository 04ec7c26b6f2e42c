import { type Admitted, callMsMax } from '../admission.ts';
import type { Flight } from '../flight.ts';
import { heldMaxOf, openingOf, targetOf } from '../record.ts';
import type { Made } from '../wire/wire.ts';
import { KEPT_MS, OPEN_MS, type OpenCall, type StoredKind, type StoredObject } from './stored.ts';

/** Whose it is that a call has made. */
export function objectOf(flight: Flight, admitted: Admitted, kind: StoredKind, { id, over }: Made): StoredObject {
  const { policy, asked } = admitted;
  return {
    id,
    customer: policy.customer,
    key: policy.key,
    kind,
    upstream: targetOf(flight, admitted).upstream.name,
    model: asked.model,
    madeAtMs: flight.atMs,
    keptUntilMs: flight.atMs + KEPT_MS[kind],
    call: asked.background && !over ? flight.id : null,
    ...(asked.batch && { asked: asked.batch }),
  };
}

/** All that it takes to close it later, on any gateway. */
export function openCallOf(
  flight: Flight,
  admitted: Admitted,
  { id, customer, kind, upstream }: StoredObject,
): OpenCall {
  const { asked, limits, match, config } = admitted;
  const target = targetOf(flight, admitted);
  const untilMs = flight.atMs + Math.max(OPEN_MS[kind], callMsMax(config.gateway));
  return {
    id: flight.id,
    customer,
    object: id,
    kind,
    upstream,
    family: target.family,
    modelSent: target.model,
    path: match.path,
    query: versionIn(flight.call.query),
    atMs: flight.atMs,
    untilMs,
    opening: openingOf(flight, admitted),
    limits,
    asked,
    heldMax: heldMaxOf(admitted, target),
  };
}

/** Azure's; whatever else a caller wrote there, as `stream=true`, would be an answer that nobody reads. */
function versionIn(query: string): string {
  return query.split('&').find((part) => part.startsWith('api-version=')) ?? '';
}
