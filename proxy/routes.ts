import { Fault } from '#core/fault.ts';
import type { Call, HeaderMap } from './inbound/call.ts';
import type { Dialect } from './wire/dialect.ts';
import { hasNames, type Params, type PathPattern, pathPattern } from './wire/path-pattern.ts';
import type { Wire } from './wire/wire.ts';
import { dialectOf, WIRES } from './wire/wires.ts';

/** What can be asked of the gateway. Paths are the providers' own. */
export type Endpoint =
  | { readonly kind: 'wire'; readonly wire: Wire; readonly pattern: PathPattern }
  | { readonly kind: 'models' | 'model' | 'limits' | 'operator' }
  | { readonly kind: 'probe'; readonly probe: Probe }
  /** Something of an explicit upstream that no wire knows. */
  | { readonly kind: 'unknown' };

/** health: the process lives. ready: calls should come here. metrics: for Prometheus. */
export type Probe = 'health' | 'ready' | 'metrics';

export interface Match {
  readonly endpoint: Endpoint;
  /** Of the names in the endpoint's path. */
  readonly params: Params;
  /** As callers of the provider's own API ask for it: without `/u/{upstream}`. */
  readonly path: string;
  /** The upstream that the caller names, before the path or in it; null when the routes decide. */
  readonly upstream: string | null;
}

type Methods = Map<string, Endpoint>;

const NO_PARAMS: Params = {};
const NO_HEADERS: HeaderMap = {};
const UNKNOWN: Endpoint = { kind: 'unknown' };

/** Paths without names; each answer is made once. */
const plain = new Map<string, Map<string, Match>>();
/** Paths with names, by their first segment: few share one. A name may be part of a segment, which routers do not take. */
const named = new Map<string, { pattern: PathPattern; methods: Methods }[]>();

function add(method: string, path: string, endpoint: Endpoint): void {
  if (!hasNames(path)) {
    const methods = plain.get(path) ?? new Map<string, Match>();
    plain.set(path, methods.set(method, { endpoint, params: NO_PARAMS, path, upstream: null }));
    return;
  }
  const first = firstSegment(path);
  const list = named.get(first) ?? [];
  named.set(first, list);
  const known = list.find(({ pattern }) => pattern.text === path);
  if (known) known.methods.set(method, endpoint);
  else list.push({ pattern: pathPattern(path), methods: new Map([[method, endpoint]]) });
}

function firstSegment(path: string): string {
  const end = path.indexOf('/', 1);
  return end < 0 ? path : path.slice(0, end);
}

for (const wire of WIRES) {
  for (const { method, path } of wire.endpoints) add(method, path, { kind: 'wire', wire, pattern: pathPattern(path) });
}
for (const path of ['/v1/models', '/v1beta/models', '/api/tags']) add('GET', path, { kind: 'models' });
// Names of models may hold slashes.
for (const path of ['/v1/models', '/v1beta/models']) add('GET', `${path}/{model+}`, { kind: 'model' });
add('GET', '/v1/limits', { kind: 'limits' });
add('GET', '/operator/limits/{customer}', { kind: 'operator' });
add('GET', '/healthz', { kind: 'probe', probe: 'health' });
add('GET', '/readyz', { kind: 'probe', probe: 'ready' });
add('GET', '/metrics', { kind: 'probe', probe: 'metrics' });

/** Throws the Faults `route_not_found` and `method_not_allowed`. */
export function getMatch(method: string, path: string, headers: HeaderMap = NO_HEADERS): Match {
  const match = matchAt(method, path);
  const { endpoint } = match;
  if (endpoint.kind !== 'wire' || endpoint.wire.forHeader === undefined) return match;
  return { ...match, endpoint: { ...endpoint, wire: meantBy(endpoint.wire, headers) } };
}

function meantBy(wire: Wire, headers: HeaderMap): Wire {
  return wire.forHeader && headers[wire.forHeader.header] !== undefined ? wire.forHeader.wire : wire;
}

function matchAt(method: string, path: string): Match {
  const known = plain.get(path)?.get(method);
  if (known) return known;
  if (DOT_SEGMENT.test(path)) throw new Fault('route_not_found');
  const explicit = EXPLICIT.exec(path);
  if (!explicit) return findBelow(method, path) ?? notFound(method, path);
  const [, upstream = '', below = ''] = explicit;
  const found = plain.get(below)?.get(method) ?? findBelow(method, below);
  // Only what goes to an upstream can go to an explicit one, and nothing to two.
  const endpoint = found?.endpoint.kind === 'wire' && found.upstream === null ? found.endpoint : UNKNOWN;
  if (endpoint === UNKNOWN && isRespelled(below)) throw new Fault('route_not_found');
  return { endpoint, params: found?.params ?? NO_PARAMS, path: below, upstream };
}

/** It would lead out of the path that an upstream's address ends in, as one server or another reads it. */
const DOT_SEGMENT = /(\/|%2f|\\|%5c)(\.|%2e){1,2}(\/|%2f|\\|%5c|;|%3b|$)/i;

/**
 * A path that has a wire, in another spelling: escaped, in capitals, with a slash too many, without the beginning that an
 * upstream's address may hold, or as older versions have it. Its server may take it for the same; around the wire it
 * would be neither metered nor asked whose it is.
 */
function isRespelled(path: string): boolean {
  const plain = path
    .replace(/%[2-7][0-9a-f]/gi, (byte) => String.fromCharCode(Number.parseInt(byte.slice(1), 16)))
    .replace(/;[^/]*/g, '')
    .replace(/[/\\]+/g, '/')
    .replace(/(.)\/$/, '$1');
  const spellings = [plain, `/v1${plain}`, plain.replace(/^\/openai\//i, '/openai/v1/')];
  return [...spellings, ...spellings.map((one) => one.toLowerCase())].some(
    (one) => one !== path && endpointsAt(one).some(({ kind }) => kind === 'wire'),
  );
}

const EXPLICIT = /^\/u\/([^/]+)(\/.*)$/;

/** Whose words to use for a call: those of the wire at its path, else of the path itself, else of what its client sends. */
export function dialectOfCall({ path, headers }: Pick<Call, 'path' | 'headers'>): Dialect {
  const below = EXPLICIT.exec(path)?.[2] ?? path;
  for (const endpoint of endpointsAt(below))
    if (endpoint.kind === 'wire') return meantBy(endpoint.wire, headers).dialect;
  return dialectOf(below, headers);
}

/** By whatever method. */
function endpointsAt(path: string): Endpoint[] {
  const patterns = (named.get(firstSegment(path)) ?? []).filter(({ pattern }) => pattern.match(path));
  return [
    ...[...(plain.get(path)?.values() ?? [])].map(({ endpoint }) => endpoint),
    ...patterns.flatMap(({ methods }) => [...methods.values()]),
  ];
}

function findBelow(method: string, path: string): Match | undefined {
  for (const { pattern, methods } of named.get(firstSegment(path)) ?? []) {
    const endpoint = methods.get(method);
    const params = endpoint && pattern.match(path);
    if (params) return { endpoint, params, path, upstream: params.upstream ?? null };
  }
  return undefined;
}

function notFound(method: string, path: string): never {
  const methods = [
    ...(plain.get(path)?.keys() ?? []),
    ...(named.get(firstSegment(path)) ?? []).flatMap((one) => (one.pattern.match(path) ? [...one.methods.keys()] : [])),
  ];
  if (methods.length === 0) throw new Fault('route_not_found');
  throw new Fault('method_not_allowed', { detail: `It takes ${methods.join(' and ')}, not ${method}.` });
}
