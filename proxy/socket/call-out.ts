import { Fault, faultOf } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import { pause } from '#core/pause.ts';
import { reply } from '../answers.ts';
import { below, pathOf } from '../attempts.ts';
import type { Flight } from '../flight.ts';
import { encodingOf, headerOf, requestHeaders, responseHeaders } from '../headers.ts';
import type { Match } from '../routes.ts';
import { traceOf } from '../trace.ts';
import { authorize } from '../upstream/credential.ts';
import type { Target } from '../upstream/route-table.ts';
import type { Upstream, UpstreamRequest } from '../upstream/upstream.ts';
import type { Sideband } from '../wire/socket-wire.ts';
import type { Wire } from '../wire/wire.ts';
import type { Connector, ConnectorParts, Lead, Wanted } from './connect.ts';
import type { Session } from './session.ts';
import type { SocketEnd } from './socket.ts';
import { askWhole, type WholeAnswer } from './whole.ts';

export interface CallOutParts extends ConnectorParts {
  readonly upstream: Upstream;
  readonly connector: Connector;
  /** Carries what is heard at the side of a call. */
  session(wanted: Wanted, sideband: ReturnType<Sideband['talk']>, client: SocketEnd): Session;
  /** Throws where it was ended while the upstream was asked. */
  checkOpen(flight: Flight): void;
  /** What went wrong behind everybody's back. */
  faulted(fault: Fault, id: string): void;
}

/** Calls whose sound does not pass here: answered once somebody listens at their side, and hung up when they end there. */
export class CallOut {
  readonly #parts: CallOutParts;

  constructor(parts: CallOutParts) {
    this.#parts = parts;
  }

  /** Resolves when the call is over. */
  async carry(flight: Flight, match: Match, wire: Wire & { sideband: Sideband }, policy: KeyPolicy): Promise<void> {
    const { connector } = this.#parts;
    const { gateway } = this.#parts.snapshot().config;
    if (encodingOf(flight.call.headers) !== undefined)
      throw new Fault('invalid_request', { detail: 'A compressed body is not taken.' });
    const body = await flight.call.body(gateway.bodyBytesMax, gateway.bodyTimeoutMs);
    if (body === undefined) return;
    const asked = wire.parse(body, flight.call, match.params);
    if (!wire.socket) throw new Fault('sockets_unavailable');
    const wanted: Wanted = { flight, match, wire: { ...wire, socket: wire.socket }, policy };
    const [target] = connector.targets(wanted, asked.model);
    if (!target) throw new Fault('model_not_found');
    flight.model = asked.model;
    flight.target = target;
    const rewritten = wire.rewrite(body, asked, { model: target.model, includeUsage: false });
    const answer = await this.#ask(wanted, target, pathOf(target, match, flight.call), rewritten);
    const id = idOf(answer);
    if (id === undefined) return tell(wanted, answer);
    let hungUp: Promise<void> | undefined;
    const hangUp = (): void => {
      hungUp ??= this.#hangUp(wanted, target, wire.sideband.hangUpPath(id));
    };
    let lead: Lead | undefined;
    try {
      lead = await connector.side(wanted, target, wire.sideband.path(id));
      this.#parts.checkOpen(flight);
    } catch (thrown) {
      lead?.end.cut();
      hangUp();
      throw thrown;
    }
    const session = this.#parts.session(wanted, wire.sideband.talk(asked.model), silent(hangUp));
    const refused = await session.startAside(lead);
    if (refused) reply(flight, refused);
    else tell(wanted, answer);
    await session.ended;
    await hungUp;
  }

  /** What is not hung up goes on, and nobody meters it: it is tried again. Never rejects. */
  async #hangUp(wanted: Wanted, target: Target, path: string): Promise<void> {
    const { faulted } = this.#parts;
    for (const waitMs of [...HANG_UP_AGAIN_MS, undefined]) {
      try {
        const { status } = await this.#ask(wanted, target, `${target.basePath}${below(path, target.family)}`, null);
        // What it does not take, it does not know: the call is over.
        if (status !== TOO_MANY && status < 500) return;
        faulted(new Fault('upstream_broken', { story: `status ${status} to hanging up` }), wanted.flight.id);
      } catch (thrown) {
        faulted(faultOf(thrown), wanted.flight.id);
      }
      if (waitMs !== undefined) await pause(waitMs, NEVER);
    }
  }

  async #ask({ flight }: Wanted, target: Target, path: string, body: Uint8Array | null): Promise<WholeAnswer> {
    const { gateway } = this.#parts.snapshot().config;
    const request: UpstreamRequest = {
      method: 'POST',
      origin: target.origin,
      path,
      headers: requestHeaders(body === null ? {} : flight.call.headers, target, traceOf(flight.call.headers)),
      body,
      connectTimeoutMs: gateway.connectTimeoutMs,
      headersTimeoutMs: gateway.headersTimeoutMs,
      idleTimeoutMs: gateway.idleTimeoutMs,
      connectionsMax: gateway.upstreamConnectionsMax,
    };
    await authorize(request, target, this.#parts.googleTokens);
    const answer = await askWhole(this.#parts.upstream, request);
    if (answer.status === CREDENTIAL_REFUSED) throw new Fault('upstream_unauthorized');
    // It would lead the caller around the gateway.
    if (answer.status >= 300 && answer.status < 400) throw new Fault('upstream_invalid', { story: 'a redirect' });
    return answer;
  }
}

const CREDENTIAL_REFUSED = 401;
const TOO_MANY = 429;
const HANG_UP_AGAIN_MS = [200, 1_000, 5_000, 20_000] as const;
const NEVER = new AbortController().signal;
const CALL_ID = /\/calls\/([^/?#]+)\/?$/;

/** Of a call that was taken; where it was not, the answer is the client's. */
function idOf({ status, headers }: WholeAnswer): string | undefined {
  if (status >= 300) return undefined;
  const id = CALL_ID.exec(headerOf(headers, 'location') ?? '')?.[1];
  if (id === undefined) throw new Fault('upstream_invalid', { story: 'a call without an id cannot be listened to' });
  return decodeURIComponent(id);
}

function tell({ flight, wire }: Wanted, { status, headers, body }: WholeAnswer): void {
  reply(flight, { status, headers: responseHeaders(headers, flight.id, wire.dialect.requestIdHeader, true), body });
}

/** The client's end of a call whose client hears of it elsewhere: what ends it here hangs up there. */
function silent(hangUp: () => void): SocketEnd {
  return {
    send: () => true,
    pause: () => undefined,
    resume: () => undefined,
    close: hangUp,
    cut: hangUp,
    listen: () => undefined,
  };
}
