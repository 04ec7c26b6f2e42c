import { Fault } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import { reply } from '../answers.ts';
import type { Flight } from '../flight.ts';
import { responseHeaders } from '../headers.ts';
import type { Match } from '../routes.ts';
import { type BooksParts, SocketBooks } from './books.ts';
import { Connector, type ConnectorParts, leadOf, protocolsOf, type Wanted } from './connect.ts';
import { Session } from './session.ts';
import type { SocketOffer } from './socket.ts';

export type SocketsParts = Omit<BooksParts, 'config' | 'findTarget'> & ConnectorParts;

const SWITCHING = 101;

/** Every socket of this gateway: from a request to change protocols to the end of its session. */
export class Sockets {
  readonly #parts: SocketsParts;
  readonly #books: SocketBooks;
  readonly #connector: Connector;
  readonly #sessions = new Set<Session>();

  constructor(parts: SocketsParts) {
    this.#parts = parts;
    this.#connector = new Connector(parts);
    this.#books = new SocketBooks({
      ...parts,
      config: () => parts.snapshot().config,
      findTarget: (...turn) => this.#connector.findTarget(...turn),
    });
  }

  get count(): number {
    return this.#sessions.size;
  }

  /** No turn begins any more; those that have begun may end. */
  finish(): void {
    for (const session of this.#sessions) session.finish(new Fault('shutting_down'));
  }

  /** Resolves when it is over, and all that it used is on record. */
  async carry(flight: Flight, offer: SocketOffer, match: Match, policy: KeyPolicy): Promise<void> {
    const wire = match.endpoint.kind === 'wire' ? match.endpoint.wire : undefined;
    const { socket } = wire ?? {};
    if (!wire || !socket) throw new Fault('invalid_request', { detail: 'This path speaks no WebSocket.' });
    const settings = this.#parts.snapshot().config.gateway;
    if (this.#sessions.size >= settings.socketsMax) {
      throw new Fault('overloaded', { story: `${this.#sessions.size} sockets are open` });
    }
    const wanted: Wanted = { flight, match, wire: { ...wire, socket }, policy };
    const talk = socket.talk(flight.call, match.params);
    const known = talk.model === null ? null : await this.#connector.connect(wanted, talk.model);
    if (known?.dialled.kind === 'answered') {
      const { status, headers, body } = known.dialled;
      const told = responseHeaders(headers, flight.id, wire.dialect.requestIdHeader, true);
      return reply(flight, { status, headers: told, body });
    }
    const lead = known && leadOf(wanted, known);
    const client = offer.accept({
      protocol: known ? known.dialled.protocol : protocolsOf(flight, socket)[0],
      headers: ['x-request-id', flight.id],
      frameBytesMax: settings.socketFrameBytesMax,
    });
    if (!client) return lead?.end.cut();
    flight.status = SWITCHING;
    const session = new Session({
      flight,
      wire,
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
    session.start(lead);
    await session.ended;
    this.#sessions.delete(session);
  }
}
