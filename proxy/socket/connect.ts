import { Fault } from '#core/fault.ts';
import { type KeyPolicy, modelAllowed } from '#core/key-policy.ts';
import { below, pathOf } from '../attempts.ts';
import { faultOfFailure } from '../ending.ts';
import type { Flight } from '../flight.ts';
import type { Halts } from '../halts.ts';
import { headerOf, requestHeaders } from '../headers.ts';
import type { Match } from '../routes.ts';
import { getRoute, type Snapshot } from '../routing.ts';
import { traceOf } from '../trace.ts';
import { authorize, type GoogleTokens } from '../upstream/credential.ts';
import { type Route, type Target, targetsOf } from '../upstream/route-table.ts';
import type { UpstreamRequest } from '../upstream/upstream.ts';
import type { SocketWire } from '../wire/socket-wire.ts';
import { type Asked, NOTHING_ASKED, type Wire } from '../wire/wire.ts';
import type { OpenSocket } from './books.ts';
import type { Dialer, Dialled, SocketEnd } from './socket.ts';

export interface ConnectorParts {
  dialer: Dialer;
  halts: Halts;
  random: () => number;
  googleTokens?: GoogleTokens | undefined;
  snapshot(): Snapshot;
}

/** What a client asks for that asks for a socket, and who it is. */
export interface Wanted {
  readonly flight: Flight;
  readonly match: Match;
  readonly wire: Wire & { readonly socket: SocketWire };
  readonly policy: KeyPolicy;
}

export interface Connected {
  readonly target: Target;
  readonly dialled: Exclude<Dialled, { kind: 'failed' }>;
}

/** Where a socket leads to. */
export interface Lead {
  readonly socket: OpenSocket;
  readonly end: SocketEnd;
  /** That the upstream has chosen. */
  readonly protocol: string | undefined;
}

/** Throws where the upstream answered without opening it. */
export function leadOf({ flight, match, wire, policy }: Wanted, { target, dialled }: Connected): Lead {
  if (dialled.kind !== 'open') throw new Fault('upstream_invalid', { story: `status ${dialled.status}` });
  const socket = { id: flight.id, call: flight.call, match, wire, target, policy };
  return { socket, end: dialled.end, protocol: dialled.protocol };
}

/** An upstream's answer to a credential that it does not take. */
const CREDENTIAL_REFUSED = 401;
/** They belong to the client's own handshake. */
const HANDSHAKE = /^sec-websocket-/;

/** Where sockets lead to: the same routes, halts and credentials as of any call. */
export class Connector {
  readonly #parts: ConnectorParts;

  constructor(parts: ConnectorParts) {
    this.#parts = parts;
  }

  /**
   * Asks one upstream after the other for a socket, until one opens it or says why not. The client has seen nothing yet.
   * Throws the Faults of routes, halts and upstreams.
   */
  async connect(wanted: Wanted, model: string): Promise<Connected> {
    const { flight, policy } = wanted;
    const targets = this.targets(wanted, model);
    flight.model = model;
    let last = new Fault('upstream_unreachable');
    for (const target of targets) {
      if (this.#parts.halts.findTarget({ policy, model }, target)) continue;
      flight.target = target;
      const dialled = await this.#dial(wanted, target);
      if (dialled.kind === 'failed') last = faultOfFailure(dialled.failure);
      else if (dialled.kind === 'open') return { target, dialled };
      else if (dialled.status === CREDENTIAL_REFUSED) last = new Fault('upstream_unauthorized');
      else if (dialled.status >= 500) last = new Fault('upstream_broken', { story: `status ${dialled.status}` });
      else if (dialled.status >= 400) return { target, dialled };
      else last = new Fault('upstream_invalid', { story: `status ${dialled.status}` });
    }
    throw last;
  }

  /** In the order in which they are to be asked. */
  targets(wanted: Wanted, model: string): readonly Target[] {
    return targetsOf(this.#route(wanted, model), this.#parts.random());
  }

  /** The side of a call at its upstream. Rejects with a Fault. */
  async side(wanted: Wanted, target: Target, path: string): Promise<Lead> {
    const dialled = await this.#dialAt(wanted, target, `${target.basePath}${below(path, target.family)}`);
    if (dialled.kind === 'failed') throw faultOfFailure(dialled.failure);
    return leadOf(wanted, { target, dialled });
  }

  #route({ policy, match, wire }: Pick<Wanted, 'policy' | 'match' | 'wire'>, model: string): Route {
    const { snapshot, halts } = this.#parts;
    // Where nothing names a model, each turn is checked for its own.
    const asked = { ...NOTHING_ASKED, model, metering: model === '' ? 'free' : 'usage' } as const;
    return halts.routeLeft({ policy, model }, getRoute(snapshot().routes, policy, match, wire, asked));
  }

  #dial(wanted: Wanted, target: Target): Promise<Dialled> {
    const { flight, match, wire } = wanted;
    const root = wire.socket.atRoot ? { ...target, basePath: '' } : target;
    return this.#dialAt(wanted, target, renamed(pathOf(root, match, flight.call), target, wire.socket));
  }

  async #dialAt({ flight, wire }: Wanted, target: Target, path: string): Promise<Dialled> {
    const { gateway } = this.#parts.snapshot().config;
    const headers = requestHeaders(flight.call.headers, target, traceOf(flight.call.headers));
    const kept = headers.flatMap((name, i) =>
      i % 2 === 0 && !HANDSHAKE.test(name) ? [name, headers[i + 1] as string] : [],
    );
    const request: UpstreamRequest = {
      method: 'GET',
      origin: target.origin,
      path,
      headers: kept,
      body: null,
      connectTimeoutMs: gateway.connectTimeoutMs,
      headersTimeoutMs: gateway.headersTimeoutMs,
      idleTimeoutMs: gateway.idleTimeoutMs,
      connectionsMax: gateway.upstreamConnectionsMax,
    };
    await authorize(request, target, this.#parts.googleTokens);
    return this.#parts.dialer.dial({
      origin: request.origin,
      path: request.path,
      headers: request.headers,
      protocols: protocolsOf(flight, wire.socket),
      timeoutMs: gateway.connectTimeoutMs,
      frameBytesMax: gateway.socketFrameBytesMax,
    });
  }

  /** Where a turn of an open socket is billed: at its upstream, as the configuration has it now. */
  findTarget({ match, wire, target }: OpenSocket, policy: KeyPolicy, asked: Asked, beside: boolean): Target {
    const { snapshot, halts } = this.#parts;
    const { model } = asked;
    if (!modelAllowed(policy.models, model)) throw new Fault('model_not_allowed');
    const now = snapshot().routes.findUpstream(target.upstream.name, target.family)?.choices[0];
    if (!now || now.origin !== target.origin) throw new Fault('model_not_found');
    const found = beside ? { ...now, model: null } : this.#served({ match, wire, policy }, asked, now);
    if (halts.findTarget({ policy, model }, found)) throw new Fault('model_halted');
    return found;
  }

  #served(
    { match, wire, policy }: Pick<Wanted, 'policy' | 'match'> & { wire: Wire },
    asked: Asked,
    now: Target,
  ): Target {
    const { choices, fallbacks } = getRoute(this.#parts.snapshot().routes, policy, match, wire, asked);
    const found = [...choices, ...fallbacks].find(({ upstream }) => upstream.name === now.upstream.name);
    if (found) return found;
    throw new Fault('model_not_found', { detail: 'This socket leads to another upstream than that model does.' });
  }
}

/** What the client and its wire have in common; never one that holds a secret. */
export function protocolsOf({ call }: Flight, { protocols }: SocketWire): string[] {
  const named = headerOf(call.headers, 'sec-websocket-protocol')?.split(',') ?? [];
  return named.map((one) => one.trim()).filter((one) => protocols.some((pattern) => pattern.test(one)));
}

/** The query names the model as the client knows it. */
function renamed(path: string, { model }: Target, { modelParams = [] }: SocketWire): string {
  const mark = path.indexOf('?');
  if (model === null || mark < 0) return path;
  const query = path.slice(mark + 1).split('&');
  const named = query.map((part) => {
    // A name may be written in other ways, and is read in all of them.
    const [name] = new URLSearchParams(part).keys();
    return name !== undefined && modelParams.includes(name) ? `${name}=${encodeURIComponent(model)}` : part;
  });
  return `${path.slice(0, mark)}?${named.join('&')}`;
}
