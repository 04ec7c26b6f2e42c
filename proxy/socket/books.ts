import type { Config } from '#config/config.ts';
import { Fault, faultOf } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import type { Clock } from '#core/time.ts';
import { type Admitted, admit } from '../admission.ts';
import { type Ending, faultOfStop } from '../ending.ts';
import { type Carrier, Flight, type Flights } from '../flight.ts';
import type { Call, Reply } from '../inbound/call.ts';
import type { Ledger } from '../ledger.ts';
import type { MaybePromise } from '../limits/counters.ts';
import type { Refusal } from '../limits/refusal.ts';
import type { Observer } from '../observer.ts';
import type { Rooms } from '../reserving/rooms.ts';
import type { Match } from '../routes.ts';
import type { Opening } from '../sink/sink.ts';
import type { Known } from '../stored/keeping.ts';
import type { Target } from '../upstream/route-table.ts';
import { EMPTY } from '../wire/bytes.ts';
import type { Turn } from '../wire/socket-wire.ts';
import type { Asked, Wire } from '../wire/wire.ts';

export interface BooksParts {
  ledger: Ledger;
  flights: Flights;
  rooms: Rooms;
  observer: Observer;
  clock: Clock;
  /** Who calls, as it stands now. Throws the Faults of a key that may not. */
  authenticate(flight: Flight): MaybePromise<KeyPolicy>;
  /** What a turn names that is kept at its provider, and where that is. Throws where it is not the caller's. */
  known(flight: Flight, policy: KeyPolicy, match: Match, asked: Asked): MaybePromise<Known>;
  /** Settled, and its event kept. */
  close(flight: Flight, admitted: Admitted, ending: Ending): Promise<void>;
  /** Where a model is served for this caller, by the upstream that a socket leads to. Throws when it is not. */
  findTarget(socket: OpenSocket, policy: KeyPolicy, asked: Asked, beside: boolean): Target;
  config(): Config;
  leaseMs(): number;
  seeded: boolean;
}

/** What the turns of a socket have in common. */
export interface OpenSocket {
  /** Groups its events, where the caller names no session. */
  readonly id: string;
  readonly call: Call;
  readonly match: Match;
  readonly wire: Wire;
  /** Where it leads to. */
  readonly target: Target;
  /** As it was when it was last asked for. */
  policy: KeyPolicy;
}

/** Where the answer to a turn goes is the socket's own business. */
const NO_REPLY: Reply = {
  head: () => undefined,
  write: () => true,
  end: () => undefined,
  cut: () => undefined,
  onDrain: () => undefined,
  onGone: () => undefined,
};

/** What a client was told that got any answer at all. */
const SERVED = 200;

/** One turn as a call of its own, from its hold to its event. */
export class SocketCall implements Carrier {
  readonly turn: Turn;
  readonly flight: Flight;
  readonly admitted: Admitted;
  readonly opening: Opening;
  readonly heldMs: number;
  isSent = false;
  deadline: ReturnType<typeof setTimeout> | undefined;
  readonly #onStop: (call: SocketCall) => void;

  constructor(
    turn: Turn,
    flight: Flight,
    admitted: Admitted,
    opening: Opening,
    heldMs: number,
    onStop: (call: SocketCall) => void,
  ) {
    this.turn = turn;
    this.flight = flight;
    this.admitted = admitted;
    this.opening = opening;
    this.heldMs = heldMs;
    this.#onStop = onStop;
    flight.carrier = this;
  }

  stop(): void {
    this.#onStop(this);
  }

  /** The message that asks for it, as its upstream shall have it. */
  edited(bytes: Uint8Array): Uint8Array {
    const { asked, outputEach, wire } = this.admitted;
    const model = this.flight.target?.model ?? null;
    if (model === null && outputEach === null) return bytes;
    const outputTokensMax = outputEach === null ? {} : { outputTokensMax: outputEach };
    return wire.rewrite(bytes, asked, { model, includeUsage: false, ...outputTokensMax });
  }
}

/** A turn that may not be: a limit refused it, or something else did. */
export interface NotHeld {
  readonly id: string;
  readonly why: Refusal | Fault;
}

/** The turns of all sockets in the books: each a call of its own, held and on record before it can begin. */
export class SocketBooks {
  readonly #parts: BooksParts;

  constructor(parts: BooksParts) {
    this.#parts = parts;
  }

  /** Held and on record, or why not. `again`: it was held before, and has not begun. */
  async hold(
    socket: OpenSocket,
    turn: Turn,
    again: boolean,
    onStop: (call: SocketCall) => void,
  ): Promise<{ call: SocketCall } | { notHeld: NotHeld }> {
    const flight = this.#begin(socket);
    try {
      socket.policy = await this.#parts.authenticate(flight);
      const known = await this.#parts.known(flight, socket.policy, socket.match, turn.asked);
      const target = this.#parts.findTarget(socket, socket.policy, known.asked, turn.beside);
      if (known.madeAt !== undefined && known.madeAt !== target.upstream.name) throw new Fault('not_found');
      const admitted = this.#admit(flight, socket, turn, known.asked, target, socket.policy);
      if (again) countNoMore(admitted);
      const refusal = await this.#parts.ledger.reserve(flight, admitted);
      if (refusal) {
        this.#parts.flights.remove(flight);
        return { notHeld: { id: flight.id, why: refusal } };
      }
      return { call: await this.#open(flight, admitted, turn, onStop) };
    } catch (thrown) {
      this.#parts.flights.remove(flight);
      const fault = faultOf(thrown);
      this.#parts.observer.faulted(fault, flight.id);
      return { notHeld: { id: flight.id, why: fault } };
    }
  }

  /**
   * A turn that the upstream has begun without leave: it is billed whether or not it fits, and what does not is debt.
   * Rejects where it cannot even be put on record.
   */
  async owe(
    socket: OpenSocket,
    turn: Turn,
    onStop: (call: SocketCall) => void,
  ): Promise<{ call: SocketCall; notHeld: NotHeld | null }> {
    const flight = this.#begin(socket);
    try {
      const { admitted, why } = await this.#admitAnyway(flight, socket, turn);
      const opening = await this.#parts.ledger.open(flight, admitted);
      const call = new SocketCall(turn, flight, admitted, opening, this.#parts.clock(), onStop);
      return { call, notHeld: why && { id: flight.id, why } };
    } catch (thrown) {
      this.#parts.flights.remove(flight);
      throw thrown;
    }
  }

  /** Where its caller may not have it, or nobody can say what it will cost, it is used all the same. */
  async #admitAnyway(
    flight: Flight,
    socket: OpenSocket,
    turn: Turn,
  ): Promise<{ admitted: Admitted; why: Refusal | Fault | null }> {
    const { policy } = socket;
    const failed = (thrown: unknown): Fault => {
      const fault = faultOf(thrown);
      this.#parts.observer.faulted(fault, flight.id);
      return fault;
    };
    flight.policy = policy;
    let admitted: Admitted;
    let why: Refusal | Fault | null = null;
    try {
      const target = this.#parts.findTarget(socket, policy, turn.asked, turn.beside);
      admitted = this.#admit(flight, socket, turn, turn.asked, target, policy);
    } catch (thrown) {
      why = failed(thrown);
      const limits = policy.limits.filter(({ kind }) => kind !== 'budget');
      const target = turn.beside ? { ...socket.target, model: null } : socket.target;
      admitted = this.#admit(flight, socket, turn, turn.asked, target, { ...policy, limits });
    }
    try {
      why = (await this.#parts.ledger.reserve(flight, admitted)) ?? why;
    } catch (thrown) {
      why = failed(thrown);
    }
    return { admitted, why };
  }

  #begin({ call }: OpenSocket): Flight {
    const nowMs = this.#parts.clock();
    const flight = new Flight(newId('req', nowMs), nowMs, call, NO_REPLY, false);
    this.#parts.flights.add(flight);
    return flight;
  }

  #admit(
    flight: Flight,
    { match, wire, id }: OpenSocket,
    turn: Turn,
    known: Asked,
    target: Target,
    policy: KeyPolicy,
  ): Admitted {
    const { config, leaseMs, rooms, seeded } = this.#parts;
    const asked = { ...known, session: known.session ?? id };
    flight.identify(asked);
    flight.target = target;
    // What the upstream begins by itself cannot be told to answer less.
    const { lowersOutput: _asItIs, ...unlowered } = wire;
    const decided = {
      config: config(),
      policy,
      match,
      wire: turn.ahead ? unlowered : wire,
      body: turn.body ?? EMPTY,
      asked,
      targets: [target],
      seeded,
    };
    return admit(flight, { ...decided, leaseMs: leaseMs() }, rooms);
  }

  async #open(flight: Flight, admitted: Admitted, turn: Turn, onStop: (call: SocketCall) => void): Promise<SocketCall> {
    const { ledger, clock } = this.#parts;
    const opening = await ledger.open(flight, admitted);
    if (flight.stopped) {
      await ledger.abandon(flight, opening);
      throw faultOfStop(flight.stopped);
    }
    return new SocketCall(turn, flight, admitted, opening, clock(), onStop);
  }

  /** Never rejects: what fails then fails behind the client's back. */
  async close(call: SocketCall, ending: Ending): Promise<void> {
    const { flight, admitted } = call;
    const { close, clock } = this.#parts;
    const upstream = flight.target?.upstream.name ?? '';
    flight.status = SERVED;
    flight.attempts.push({ upstream, status: SERVED, duration_ms: Math.max(0, clock() - call.heldMs) });
    await this.#over(call, () => close(flight, admitted, ending));
  }

  /** It never began. Never rejects. */
  async abandon(call: SocketCall): Promise<void> {
    await this.#over(call, () => this.#parts.ledger.abandon(call.flight, call.opening));
  }

  async #over(call: SocketCall, work: () => Promise<void>): Promise<void> {
    const { flight } = call;
    flight.over = true;
    clearTimeout(call.deadline);
    try {
      await work();
    } catch (thrown) {
      this.#parts.observer.faulted(faultOf(thrown), flight.id);
    } finally {
      this.#parts.flights.remove(flight);
    }
  }
}

/** What is counted at admission was counted when it was held first, and has not been given back since. */
function countNoMore({ reservation }: Admitted): void {
  reservation.holds = reservation.holds.map((hold) =>
    hold.kind === 'rate' && hold.counted === 'admission' ? { ...hold, amount: 0n } : hold,
  );
}
