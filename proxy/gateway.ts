import type { Config } from '#config/config.ts';
import { Fault, faultOf } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import { within } from '#core/within.ts';
import { type Admitted, admit, callMsMax } from './admission.ts';
import { answerProbe, reply, replyJson } from './answers.ts';
import { Attempts } from './attempts.ts';
import { getSecret } from './caller.ts';
import { type Ending, faultOfEnding, faultOfStop } from './ending.ts';
import { Flight, Flights } from './flight.ts';
import type { GatewayParts } from './gateway-parts.ts';
import { encodingOf } from './headers.ts';
import type { Call, Reply } from './inbound/call.ts';
import { KillSwitch } from './kill-switch.ts';
import { Ledger } from './ledger.ts';
import type { MaybePromise } from './limits/counters.ts';
import type { Refusal } from './limits/refusal.ts';
import { limitsAnswer } from './limits-answer.ts';
import { modelsAnswer } from './models.ts';
import { operatorAnswer } from './operator-answer.ts';
import { Reserving } from './reserving/reserving.ts';
import { dialectOfCall, getMatch, type Match } from './routes.ts';
import { getRoute, getWire, type Snapshot, snapshotOf } from './routing.ts';
import type { SocketOffer } from './socket/socket.ts';
import { Sockets, socketsOf } from './socket/sockets.ts';
import { isAboutKept, Keeping, type Known, knownWithoutStore } from './stored/keeping.ts';
import type { Reconciler } from './stored/reconciler.ts';
import { NO_COUNTER } from './tokens/token-counter.ts';
import { targetsOf } from './upstream/route-table.ts';
import type { Asked } from './wire/wire.ts';

/** How long usage may take to become durable once its call has ended: a disk that works needs milliseconds. */
const DURABLE_MS = 3_000;

/** The request path, and every branch of it: who calls, what for, where to, held, opened, sent, passed on, settled. */
export class Gateway {
  readonly #parts: GatewayParts;
  readonly #attempts: Attempts;
  readonly #reserving: Reserving;
  readonly #ledger: Ledger;
  readonly #keeping: Keeping | undefined;
  readonly #sockets: Sockets | undefined;
  #snapshot: Snapshot;
  readonly #flights = new Flights();
  /** What an operator turns off, here and now. */
  readonly killSwitch = new KillSwitch(this.#flights);
  #beats = false;
  #drains = 0;
  #draining = false;
  #onEmpty: (() => void) | undefined;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#reserving = new Reserving({ ...parts, tokens: parts.tokens ?? NO_COUNTER });
    this.#ledger = new Ledger(parts, this.#reserving);
    this.#attempts = new Attempts(parts, this.killSwitch.halts, this.#reserving);
    this.#snapshot = snapshotOf(parts.config);
    this.#keeping = parts.stored && new Keeping(parts, parts.stored, () => this.#snapshot);
    this.killSwitch.use('config', parts.config.halts);
    this.#sockets =
      parts.dialer &&
      new Sockets({
        ...parts,
        dialer: parts.dialer,
        ledger: this.#ledger,
        flights: this.#flights,
        rooms: this.#reserving.rooms,
        halts: this.killSwitch.halts,
        snapshot: () => this.#snapshot,
        authenticate: (flight) => this.#authenticate(flight),
        known: (flight, policy, match, asked) => this.#known(flight, policy, match, asked),
        close: (flight, admitted, ending) => this.#close(flight, admitted, ending),
        leaseMs: () => this.#leaseMs(this.#snapshot.config),
        seeded: parts.counters.seeded === true,
      });
  }

  /** Calls that begin from now on; those in flight keep what they began with. */
  use(config: Config): void {
    this.#snapshot = snapshotOf(config);
    this.killSwitch.use('config', config.halts);
  }

  /**
   * Renews what calls in flight hold. Called again and again, at least four times in `hold_lease`, what a gateway holds
   * ends soon after it dies; one that is never called keeps its leases for as long as its calls may take.
   */
  beat(): void {
    this.#beats = true;
    this.#reserving.renewAll(this.#flights, this.#parts.clock(), this.#snapshot.config.gateway.holdLeaseMs);
  }

  /** What looks after calls that go on at their providers; a main starts it, and stops it before it leaves. */
  get reconciler(): Reconciler | undefined {
    return this.#keeping?.reconciler;
  }

  get callsInFlight(): number {
    return this.#flights.count;
  }

  /**
   * Takes no new calls, lets open ones finish within the bound, cuts the rest, and returns when all usage is durable.
   * Rejects when a disk does not take it within a bound of its own: the next start estimates what was opened.
   */
  async drain(timeoutMs: number, durableMs = DURABLE_MS): Promise<void> {
    this.#draining = true;
    this.#attempts.mayRepeat = false;
    this.#sockets?.finish();
    const late = (): Fault => new Fault('journal_unavailable', { story: `It did not end within ${durableMs} ms.` });
    if (this.#flights.count > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onEmpty = resolve;
      const timer = setTimeout(() => {
        for (const flight of this.#flights.list()) {
          flight.stop('shutdown');
          if (!flight.exchange) flight.reply.cut();
        }
      }, timeoutMs);
      await within(timeoutMs + durableMs, promise, late).finally(() => clearTimeout(timer));
    }
    await within(durableMs, this.#parts.sink.drain(), late);
  }

  /** Answers one call. Never throws and never rejects: whatever goes wrong is an answer, or a cut connection. */
  handle(call: Call, to: Reply): Promise<void> {
    const flight = this.#begin(call, to);
    return this.#see(flight, this.#answer(flight, this.#snapshot));
  }

  /** Carries one socket to its end. Likewise; `to` answers where it is not opened. */
  handleSocket(call: Call, to: Reply, offer: SocketOffer): Promise<void> {
    const flight = this.#begin(call, to);
    return this.#see(flight, this.#carry(flight, offer, this.#snapshot));
  }

  #begin(call: Call, to: Reply): Flight {
    const nowMs = this.#parts.clock();
    const flight = new Flight(newId('req', nowMs), nowMs, call, to, this.#draining);
    this.#flights.add(flight);
    return flight;
  }

  async #see(flight: Flight, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (thrown) {
      // Once it is over, the client has its answer: what fails then fails behind its back.
      if (flight.over) this.#parts.observer.faulted(faultOf(thrown), flight.id);
      else this.#fail(flight, faultOf(thrown));
    } finally {
      this.#flights.remove(flight);
      if (this.#flights.count === 0) this.#onEmpty?.();
    }
  }

  async #answer(flight: Flight, snapshot: Snapshot): Promise<void> {
    const { call } = flight;
    const match = getMatch(call.method, call.path, call.headers);
    const { endpoint } = match;
    if (endpoint.kind === 'probe') return answerProbe(flight, endpoint.probe, this.#draining, this.#parts);
    if (endpoint.kind === 'operator') return replyJson(flight, 200, await operatorAnswer(call, match, this.#parts));
    if (this.#draining) throw new Fault('shutting_down');
    if (this.#flights.count > snapshot.config.gateway.callsMax) throw new Fault('overloaded');
    const caller = this.#authenticate(flight);
    const policy = caller instanceof Promise ? await caller : caller;
    if (endpoint.kind === 'models' || endpoint.kind === 'model') {
      return replyJson(flight, 200, modelsAnswer(match, dialectOfCall(call), policy, snapshot.routes));
    }
    if (endpoint.kind === 'limits') {
      return replyJson(flight, 200, await limitsAnswer(flight, policy, this.#parts.counters));
    }
    if (endpoint.kind === 'wire' && endpoint.wire.sideband) return socketsOf(this.#sockets).call(flight, match, policy);
    return this.#proxy(flight, snapshot, policy, match);
  }

  async #carry(flight: Flight, offer: SocketOffer, snapshot: Snapshot): Promise<void> {
    const match = getMatch(flight.call.method, flight.call.path);
    if (this.#draining) throw new Fault('shutting_down');
    if (this.#flights.count > snapshot.config.gateway.callsMax) throw new Fault('overloaded');
    return socketsOf(this.#sockets).carry(flight, offer, match, await this.#authenticate(flight));
  }

  #authenticate(flight: Flight): MaybePromise<KeyPolicy> {
    const pass = (hash: string) => this.killSwitch.pass(flight, this.#parts.policies, hash);
    const hash = this.#parts.hash(getSecret(flight.call));
    return hash instanceof Promise ? hash.then(pass) : pass(hash);
  }

  // --- A metered call -------------------------------------------------------------------------------------------

  async #proxy(flight: Flight, snapshot: Snapshot, policy: KeyPolicy, match: Match): Promise<void> {
    const { call } = flight;
    const wire = getWire(match, snapshot.config);
    const { gateway } = snapshot.config;
    flight.reply.onGone(() => this.#clientGone(flight, gateway));
    flight.reply.onDrain(() => flight.exchange?.resume());

    if (encodingOf(call.headers) !== undefined)
      throw new Fault('invalid_request', { detail: 'A compressed body is not taken.' });
    const read = call.body(gateway.bodyBytesMax, gateway.bodyTimeoutMs);
    const body = read instanceof Promise ? await read : read;
    if (body === undefined) return;
    const parsed = wire.parse(body, call, match.params);
    const known = isAboutKept(parsed) ? await this.#known(flight, policy, match, parsed) : undefined;
    const asked = known?.asked ?? parsed;
    flight.identify(asked);
    const route = this.killSwitch.halts.routeLeft(
      { policy, model: asked.model },
      getRoute(snapshot.routes, policy, match, wire, asked, known?.madeAt),
    );
    const targets = targetsOf(route, this.#parts.random());
    const leaseMs = this.#leaseMs(snapshot.config);
    const seeded = this.#parts.counters.seeded === true;
    const object = known?.object;
    const decided = { config: snapshot.config, policy, match, wire, body, asked, targets, object, leaseMs, seeded };
    const admitted = admit(flight, decided, this.#reserving.rooms);
    if (flight.stopped && !flight.gone) throw faultOfStop(flight.stopped);
    const reserved = this.#ledger.reserve(flight, admitted);
    const refusal = reserved instanceof Promise ? await reserved : reserved;
    if (refusal) return this.#refuse(flight, admitted, refusal);
    const opening = await this.#ledger.open(flight, admitted);
    // From here on the call is on record, and there are two ways out: given up before anything was sent, or finished.
    if (flight.stopped || flight.gone) {
      await this.#ledger.abandon(flight, opening);
      if (flight.stopped && !flight.gone) throw faultOfStop(flight.stopped);
      return;
    }
    if (asked.background && asked.stream) this.#keeping?.follow(flight, admitted);
    await this.#finish(flight, admitted, await this.#attempts.send(flight, admitted));
  }

  #known({ call }: Flight, policy: KeyPolicy, match: Match, asked: Asked): MaybePromise<Known> {
    return this.#keeping ? this.#keeping.known(policy, match, call.method, asked) : knownWithoutStore(asked);
  }

  #leaseMs({ gateway }: Config): number {
    return this.#beats ? gateway.holdLeaseMs : callMsMax(gateway);
  }

  #clientGone(flight: Flight, { onDisconnect, drainsMax, drainTimeoutMs }: Config['gateway']): void {
    if (flight.over) return;
    flight.gone = true;
    if (!flight.exchange || onDisconnect === 'cancel' || flight.cancelOnGone || this.#drains >= drainsMax) {
      flight.stop('gone');
      return;
    }
    this.#drains++;
    flight.drainTimer = setTimeout(() => flight.stop('gone'), drainTimeoutMs);
    flight.exchange.resume();
  }

  /** The only place where a call that was opened ends: the client is told, the limits are settled, the event is kept. */
  #finish(flight: Flight, admitted: Admitted, ending: Ending): Promise<void> {
    flight.over = true;
    if (flight.drainTimer !== undefined) {
      clearTimeout(flight.drainTimer);
      this.#drains--;
    }
    this.#tellEnding(flight, ending);
    return this.#close(flight, admitted, ending);
  }

  #close(flight: Flight, admitted: Admitted, ending: Ending): Promise<void> {
    if (admitted.asked.makes !== undefined || admitted.object) return this.#closeKept(flight, admitted, ending);
    return this.#ledger.close(flight, admitted, ending);
  }

  async #closeKept(flight: Flight, admitted: Admitted, ending: Ending): Promise<void> {
    if (await this.#keeping?.ended(flight, admitted, ending)) this.#ledger.leave(flight, admitted);
    else await this.#ledger.close(flight, admitted, ending);
  }

  /** What an ending still owes the client; an answer that came to its end has been passed on already. */
  #tellEnding(flight: Flight, ending: Ending): void {
    if (ending.kind === 'answered') return;
    const fault = faultOfEnding(ending);
    const words = flight.status === null ? undefined : flight.exchange?.breakOff(fault.message, fault.code);
    if (!words) {
      this.#fail(flight, fault);
      return;
    }
    this.#parts.observer.faulted(fault, flight.id);
    flight.reply.end(words);
  }

  // --- Answers of our own ---------------------------------------------------------------------------------------

  #refuse(flight: Flight, { wire, config }: Admitted, refusal: Refusal): void {
    reply(flight, wire.dialect.refusal(refusal, flight.id, config.gateway.budgetStatus402, flight.callId));
  }

  /** The client is told where it has been told nothing yet; else it must see that its answer is not whole. */
  #fail(flight: Flight, fault: Fault): void {
    this.#parts.observer.faulted(fault, flight.id);
    if (flight.status === null) reply(flight, dialectOfCall(flight.call).fault(fault, flight.id, flight.callId));
    else flight.reply.cut();
  }
}
