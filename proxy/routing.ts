import type { Config } from '#config/config.ts';
import { WIRE_FAMILIES, type WireFamily } from '#config/wires.ts';
import { Fault } from '#core/fault.ts';
import { type KeyPolicy, modelAllowed } from '#core/key-policy.ts';
import type { Match } from './routes.ts';
import type { Route, RouteTable } from './upstream/route-table.ts';
import { passthroughWire } from './wire/unmetered.ts';
import type { Asked, Wire } from './wire/wire.ts';
import { dialectOf } from './wire/wires.ts';

/** What the path means: a wire's, or that of what no wire knows, where the operator lets it pass. Throws `route_not_found`. */
export function getWire({ endpoint, upstream: name, path }: Match, config: Config): Wire {
  if (endpoint.kind === 'wire') return endpoint.wire;
  const upstream = config.upstreams.get(name ?? '');
  const family = WIRE_FAMILIES.find((one) => upstream?.addresses[one] !== undefined);
  if (!upstream?.passthrough || family === undefined) throw new Fault('route_not_found');
  return passthroughWire(family, dialectOf(path, {}));
}

/** Where a call may go. Throws `model_not_allowed` and `model_not_found`. */
export function getRoute(routes: RouteTable, policy: KeyPolicy, match: Match, wire: Wire, asked: Asked): Route {
  // What is stored at a provider has no model; of what nobody can read, nobody can say that its model is allowed.
  const checked = asked.model !== '' || asked.metering !== 'free';
  if (checked && !isAllowed(policy, asked)) throw new Fault('model_not_allowed');
  const find = (family: WireFamily): Route | undefined =>
    match.upstream === null ? routes.find(asked.model, family) : routes.findUpstream(match.upstream, family);
  const route = find(wire.family) ?? (wire.otherFamily && find(wire.otherFamily));
  if (!route) throw new Fault('model_not_found');
  return route;
}

function isAllowed({ models }: KeyPolicy, { model, anyBelow }: Asked): boolean {
  return modelAllowed(models, model) || (anyBelow === true && models.some((one) => one.startsWith(`${model}/`)));
}
