import { Fault } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import { reply } from '../answers.ts';
import { faultOfStop } from '../ending.ts';
import type { Flight } from '../flight.ts';
import { responseHeaders } from '../headers.ts';
import type { Match } from '../routes.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Talk } from '../wire/socket-wire.ts';
import { type BooksParts, SocketBooks } from './books.ts';
import { CallOut } from './call-out.ts';
import { Connector, type ConnectorParts, type Lead, leadOf, protocolsOf, type Wanted } from './connect.ts';
import { Session } from './session.ts';
import type { SocketEnd, SocketOffer } from './socket.ts';

export type SocketsParts = Omit<BooksParts, 'config' | 'findTarget'> & ConnectorParts & { readonly upstream: Upstream };

const SWITCHING = 101;

/** Throws where this gateway carries none. */
export function socketsOf(sockets: Sockets | undefined): Sockets {
  if (!sockets) throw new Fault('sockets_unavailable');
  return sockets;
}

/** Every socket of this gateway: from a request to change protocols to the end of its session. */
export class Sockets {
  readonly #parts: SocketsParts;
  readonly #books: SocketBooks;
  readonly #connector: Connector;
  readonly #callOut: CallOut;
  readonly #sessions = new Set<Session>();
  /** Those that are being opened, and those that are open. */
  #count = 0;
  #isFinishing = false;

  constructor(parts: SocketsParts) {
    this.#parts = parts;
    this.#connector = new Connector(parts);
    this.#callOut = new CallOut({
      ...parts,
      connector: this.#connector,
      session: (...call) => this.#session(...call),
      checkOpen: (flight) => this.#checkOpen(flight),
      faulted: (fault, id) => parts.observer.faulted(fault, id),
    });
    this.#books = new SocketBooks({
      ...parts,
      config: () => parts.snapshot().config,
      findTarget: (...turn) => this.#connector.findTarget(...turn),
    });
  }

  /** No turn begins any more; those that have begun may end. */
  finish(): void {
    this.#isFinishing = true;
    for (const session of this.#sessions) session.finish(new Fault('shutting_down'));
  }

  /** Resolves when it is over, and all that it used is on record. */
  async carry(flight: Flight, offer: SocketOffer, match: Match, policy: KeyPolicy): Promise<void> {
    const wire = match.endpoint.kind === 'wire' ? match.endpoint.wire : undefined;
    const { socket } = wire ?? {};
    if (!wire || !socket) throw new Fault('invalid_request', { detail: 'This path speaks no WebSocket.' });
    await this.#inRoom(() => this.#carry({ flight, match, wire: { ...wire, socket }, policy }, offer));
  }

  async #carry(wanted: Wanted, offer: SocketOffer): Promise<void> {
    const { flight, match, wire } = wanted;
    const { socket } = wire;
    const talk = socket.talk(flight.call, match.params);
    const known = talk.model === null ? null : await this.#connector.connect(wanted, talk.model);
    if (known?.dialled.kind === 'answered') {
      const { status, headers, body } = known.dialled;
      const told = responseHeaders(headers, flight.id, wire.dialect.requestIdHeader, true);
      return reply(flight, { status, headers: told, body });
    }
    const lead = known && leadOf(wanted, known);
    const client = this.#accept(wanted, lead, offer);
    if (!client) return;
    flight.status = SWITCHING;
    const session = this.#session(wanted, talk, client);
    session.start(lead);
    await session.ended;
  }

  /** Undefined where its client has left meanwhile. Throws where the operator has ended it meanwhile. */
  #accept({ flight, wire }: Wanted, lead: Lead | null, offer: SocketOffer): SocketEnd | undefined {
    let client: SocketEnd | undefined;
    try {
      this.#checkOpen(flight);
      client = offer.accept({
        protocol: lead ? lead.protocol : protocolsOf(flight, wire.socket)[0],
        headers: ['x-request-id', flight.id],
        frameBytesMax: this.#parts.snapshot().config.gateway.socketFrameBytesMax,
      });
    } finally {
      if (!client) lead?.end.cut();
    }
    return client;
  }

  /** A call that is metered from its side. Resolves when it is over. */
  async call(flight: Flight, match: Match, policy: KeyPolicy): Promise<void> {
    const wire = match.endpoint.kind === 'wire' ? match.endpoint.wire : undefined;
    const { sideband } = wire ?? {};
    if (!wire || !sideband) throw new Fault('route_not_found');
    await this.#inRoom(() => this.#callOut.carry(flight, match, { ...wire, sideband }, policy));
  }

  /** Those that are being opened take room too: many may come at once. */
  async #inRoom(carry: () => Promise<void>): Promise<void> {
    const { socketsMax } = this.#parts.snapshot().config.gateway;
    if (this.#count >= socketsMax) throw new Fault('overloaded', { story: `${this.#count} sockets are open` });
    this.#count++;
    try {
      await carry();
    } finally {
      this.#count--;
    }
  }

  /** What has happened while the upstream was asked. */
  #checkOpen({ stopped }: Flight): void {
    if (stopped) throw faultOfStop(stopped);
    if (this.#isFinishing) throw new Fault('shutting_down');
  }

  #session(wanted: Wanted, talk: Talk, client: SocketEnd): Session {
    const settings = this.#parts.snapshot().config.gateway;
    const session = new Session({
      flight: wanted.flight,
      wire: wanted.wire,
      talk,
      client,
      books: this.#books,
      settings,
      observer: this.#parts.observer,
      clock: this.#parts.clock,
      connect: async (model) => leadOf(wanted, await this.#connector.connect(wanted, model)),
      mayDrain: () => [...this.#sessions].filter(({ isLeft }) => isLeft).length < settings.drainsMax,
    });
    this.#sessions.add(session);
    void session.ended.then(() => this.#sessions.delete(session));
    return session;
  }
}
