import type { Config } from '#config/config.ts';
import { WIRE_FAMILIES, type WireFamily } from '#config/wires.ts';
import { Fault } from '#core/fault.ts';
import { type KeyPolicy, modelAllowed } from '#core/key-policy.ts';
import type { Match } from './routes.ts';
import { type Route, RouteTable } from './upstream/route-table.ts';
import { passthroughWire } from './wire/unmetered.ts';
import type { Asked, Wire } from './wire/wire.ts';
import { dialectOf } from './wire/wires.ts';

/** A configuration as calls meet it: each keeps the one that it began with. */
export interface Snapshot {
  readonly config: Config;
  readonly routes: RouteTable;
}

export function snapshotOf(config: Config): Snapshot {
  return { config, routes: new RouteTable(config) };
}

/** What the path means: a wire's, or that of what no wire knows, where the operator lets it pass. Throws `route_not_found`. */
export function getWire({ endpoint, upstream: name, path }: Match, config: Config): Wire {
  if (endpoint.kind === 'wire') return endpoint.wire;
  const upstream = config.upstreams.get(name ?? '');
  const family = WIRE_FAMILIES.find((one) => upstream?.addresses[one] !== undefined);
  if (!upstream?.passthrough || family === undefined) throw new Fault('route_not_found');
  return passthroughWire(family, dialectOf(path, {}));
}

/**
 * Where a call may go; `madeAt`: the only upstream that knows what it names. Throws `model_not_allowed`,
 * `model_not_found` and `not_found`.
 */
export function getRoute(
  routes: RouteTable,
  policy: KeyPolicy,
  match: Match,
  wire: Wire,
  asked: Asked,
  madeAt?: string,
): Route {
  // What is stored at a provider has no model; of what nobody can read, nobody can say that its model is allowed.
  const checked = asked.model !== '' || asked.metering !== 'free';
  if (checked && !isAllowed(policy, asked)) throw new Fault('model_not_allowed');
  const named = match.upstream ?? (asked.object === undefined ? null : (madeAt ?? null));
  const find = (family: WireFamily): Route | undefined =>
    named === null ? routes.find(asked.model, family) : routes.findUpstream(named, family);
  const route = find(wire.family) ?? (wire.otherFamily && find(wire.otherFamily));
  if (!route && asked.object !== undefined) throw new Fault('not_found', { detail: ELSEWHERE });
  if (!route) throw new Fault('model_not_found');
  return madeAt === undefined ? route : routeAt(route, madeAt);
}

const ELSEWHERE = 'The upstream that keeps it does not serve this any more.';

function routeAt({ choices, fallbacks }: Route, upstream: string): Route {
  const target = [...choices, ...fallbacks].find((one) => one.upstream.name === upstream);
  if (!target) throw new Fault('not_found', { detail: ELSEWHERE });
  return { choices: [{ ...target, weight: 1 }], fallbacks: [] };
}

function isAllowed({ models }: KeyPolicy, { model, anyBelow }: Asked): boolean {
  return modelAllowed(models, model) || (anyBelow === true && models.some((one) => one.startsWith(`${model}/`)));
}
