import type { GatewaySettings } from '#config/config.ts';
import { Fault, faultOf } from '#core/fault.ts';
import type { Clock } from '#core/time.ts';
import { faultOfStop, type Stop } from '../ending.ts';
import type { Carrier } from '../flight.ts';
import type { ErrorAnswer } from '../wire/dialect.ts';
import type { Turn, TurnStep } from '../wire/socket-wire.ts';
import { type NotHeld, type OpenSocket, type SocketBooks, SocketCall } from './books.ts';
import type { Lead } from './connect.ts';
import { HeldTurns } from './held-turns.ts';
import { Lifetime } from './lifetime.ts';
import { Relay, type RelayHandler, type SocketEvent } from './relay.ts';
import { CLOSE, type Closing, closingOf, type Frame, passedCode, type SocketEnd } from './socket.ts';
import { Teller, type TellerParts } from './teller.ts';

export interface SessionParts extends TellerParts {
  readonly client: SocketEnd;
  readonly books: SocketBooks;
  readonly settings: GatewaySettings;
  readonly clock: Clock;
  /** Where the talk leads to, once it says so. Rejects with a Fault. */
  connect(model: string): Promise<Lead>;
  /** One more may be read on without its client. */
  mayDrain(): boolean;
}

/** As a request would have been answered. */
const STATUS = { ended: 200, refused: 400 } as const;

/**
 * One socket from its opening to its end: frames pass as they are, turns are held before they can begin and closed when
 * the upstream has said what they used.
 *
 * open -> finishing (nothing more is taken from the client; what has begun ends) or left (the client is gone; likewise)
 * -> over.
 */
export class Session implements Carrier, RelayHandler {
  readonly isSent = false;
  readonly ended: Promise<void>;
  readonly #parts: SessionParts;
  readonly #resolve: () => void;
  readonly #relay: Relay;
  readonly #turns: HeldTurns;
  readonly #teller: Teller;
  #state: 'open' | 'finishing' | 'left' | 'over' = 'open';
  #socket: OpenSocket | undefined;
  #closing: Closing = { code: CLOSE.normal, reason: '' };
  readonly #lifetime: Lifetime;

  constructor(parts: SessionParts) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#resolve = resolve;
    this.#parts = parts;
    this.#relay = new Relay(this);
    this.#teller = new Teller(parts, (frame) => {
      if (this.#state === 'open' || this.#state === 'finishing') this.#relay.send('client', frame);
    });
    this.#turns = new HeldTurns({
      ...parts,
      callTimeoutMs: parts.settings.callTimeoutMs,
      onStop: ({ isSent, flight }) => {
        const why = flight.stopped ?? 'gone';
        if (isSent) this.cut(why);
        else this.finish(faultOfStop(why));
      },
    });
    this.#lifetime = new Lifetime({ ...parts, onEnd: (closing) => this.#close(closing) });
    parts.flight.carrier = this;
  }

  /** Its client has gone, and what it began is read on. */
  get isLeft(): boolean {
    return this.#state === 'left';
  }

  /** From now on frames pass. `lead`: where it leads to, where that was known before it was accepted. */
  start(lead: Lead | null): void {
    if (lead) this.#lead(lead);
    this.#relay.add('client', this.#parts.client);
  }

  /** Likewise, at the side of a call that may speak at once. How it is told where it may not. */
  startAside(lead: Lead): Promise<ErrorAnswer | undefined> {
    this.start(lead);
    const held = this.#standBy();
    this.#relay.work(held.then(() => undefined));
    return held;
  }

  #lead({ socket, end }: Lead): void {
    this.#socket = socket;
    this.#relay.add('upstream', end);
  }

  handle(event: SocketEvent): Promise<void> | undefined {
    if (this.#isOver()) return undefined;
    this.#lifetime.seen();
    const { from } = event;
    if ('frame' in event) return from === 'client' ? this.#fromClient(event.frame) : this.#fromUpstream(event.frame);
    if (from === 'client') this.#clientGone(event.code, event.reason);
    else this.#upstreamGone(event.code, event.reason);
    return undefined;
  }

  broke(thrown: unknown): void {
    this.cut('unchecked', faultOf(thrown));
  }

  #fromClient(frame: Frame): Promise<void> | undefined {
    if (this.#state !== 'open') return undefined;
    let turns: readonly Turn[];
    try {
      turns = this.#parts.talk.fromClient(frame);
    } catch (thrown) {
      this.#tellFault(faultOf(thrown));
      return undefined;
    }
    if (!this.#socket || turns.some((turn) => !this.#turns.isHeld(turn))) return this.#holdAndPass(turns, frame);
    this.#relay.send('upstream', frame);
    return undefined;
  }

  async #holdAndPass(turns: readonly Turn[], frame: Frame): Promise<void> {
    const isFirst = !this.#socket;
    const socket = this.#socket ?? (await this.#connect());
    if (!socket) return;
    let { bytes } = frame;
    if (isFirst) bytes = this.#parts.talk.leading?.(bytes, socket.target) ?? bytes;
    for (const turn of turns) {
      if (this.#turns.isHeld(turn)) continue;
      if (turn.inPlaceOf) this.#turns.drop(turn.inPlaceOf);
      const held = await this.#turns.hold(socket, turn);
      if (!(held instanceof SocketCall)) {
        this.#parts.talk.forget(turn);
        this.#refuse(turn, held);
        return;
      }
      if (this.#state !== 'open') {
        this.#turns.abandonAhead();
        return;
      }
      if (turn.ahead) continue;
      bytes = held.edited(bytes);
      this.#turns.begin(held);
    }
    this.#relay.send('upstream', { bytes, isText: frame.isText });
  }

  /** Undefined when the client was told that it leads nowhere. */
  async #connect(): Promise<OpenSocket | undefined> {
    const { talk, connect } = this.#parts;
    try {
      if (talk.model === null) throw new Fault('invalid_request', { detail: 'No message has named a model yet.' });
      const lead = await connect(talk.model);
      if (this.#isOver()) lead.end.cut();
      else this.#lead(lead);
      return this.#socket;
    } catch (thrown) {
      this.cut('unchecked', faultOf(thrown));
      return undefined;
    }
  }

  #fromUpstream(frame: Frame): Promise<void> | undefined {
    if (this.#state !== 'left') this.#relay.send('client', frame);
    const steps = this.#parts.talk.fromUpstream(frame);
    if (steps.some(({ turn }) => !this.#turns.has(turn))) return this.#owe(steps);
    for (const step of steps) this.#take(step);
    const standing = this.#parts.talk.standing?.() ?? [];
    if (this.#state !== 'open' || standing.every((turn) => this.#turns.isHeld(turn))) return undefined;
    return this.#standBy().then(() => undefined);
  }

  /** Holds what may begin without a word of the client's. What could not be held ends the session: how that is told. */
  async #standBy(): Promise<ErrorAnswer | undefined> {
    for (const turn of this.#parts.talk.standing?.() ?? []) {
      if (!this.#socket || this.#state !== 'open' || this.#turns.isHeld(turn)) continue;
      const held = await this.#turns.hold(this.#socket, turn);
      if (held instanceof SocketCall) continue;
      this.#parts.talk.forget(turn);
      this.#refuse(turn, held);
      return this.#teller.answerTo(held);
    }
    return undefined;
  }

  /** Something has begun that was not held: it is cut short, unless it fits after all. */
  async #owe(steps: readonly TurnStep[]): Promise<void> {
    for (const step of steps) {
      const { kind, turn } = step;
      if (this.#socket && (kind === 'began' || kind === 'ended') && !this.#turns.has(turn)) {
        const notHeld = await this.#turns.owe(this.#socket, turn);
        const cancel = kind === 'began' && (notHeld || this.#state !== 'open') && this.#parts.talk.cancelFrame(turn);
        if (cancel) this.#relay.send('upstream', cancel);
        if (notHeld) this.#refuse(turn, notHeld);
      }
      this.#take(step);
    }
  }

  #take({ kind, turn }: TurnStep): void {
    if (kind === 'began') this.#turns.began(turn);
    else if (kind === 'dropped') this.#turns.drop(turn);
    else this.#turns.end(turn, { kind: 'answered', status: STATUS[kind], reading: turn.read() });
    this.#endIfDone();
  }

  /** Where the client can be told of a turn that it asked for, it may ask for another; else the socket ends with it. */
  #refuse(turn: Turn, notHeld: NotHeld): void {
    if (this.#teller.notHeld(turn, notHeld) && !turn.ahead) return;
    this.#close(closingOf(notHeld.why instanceof Fault ? notHeld.why : new Fault(notHeld.why.code)));
  }

  #tellFault(fault: Fault): void {
    if (!this.#teller.fault(fault)) this.#close(closingOf(fault));
  }

  /** The operator, or the gateway, wants the session to end: what has begun may come to its end. */
  finish(fault: Fault): void {
    if (this.#state !== 'open') return;
    this.#tellFault(fault);
    this.#close(closingOf(fault));
  }

  stop(): void {
    const why = this.#parts.flight.stopped ?? 'shutdown';
    if (why === 'shutdown') this.cut(why);
    else this.finish(faultOfStop(why));
  }

  /** Now: what has begun is billed as far as it came. */
  cut(why: Stop, fault = faultOfStop(why)): void {
    if (this.#isOver()) return;
    if (why !== 'gone') this.#tellFault(fault);
    this.#stopAll(why);
    this.#end(closingOf(fault));
  }

  #stopAll(why: Stop): void {
    this.#turns.endAll((turn) => ({ kind: 'stopped', why, sent: true, reading: turn.read() }));
  }

  #close(closing: Closing): void {
    if (this.#state !== 'open') return;
    this.#state = 'finishing';
    this.#closing = closing;
    this.#turns.abandonAhead();
    this.#endIfDone();
  }

  #clientGone(code: number, reason: string): void {
    const { settings, mayDrain, flight } = this.#parts;
    flight.gone = true;
    this.#turns.abandonAhead();
    this.#turns.clientGone();
    if (this.#turns.count > 0 && (settings.onDisconnect === 'cancel' || !mayDrain())) {
      this.cut('gone');
      return;
    }
    this.#state = 'left';
    this.#closing = { code: passedCode(code, CLOSE.goingAway), reason };
    this.#relay.caughtUp('client');
    flight.drainTimer = setTimeout(() => this.cut('gone'), settings.drainTimeoutMs);
    this.#endIfDone();
  }

  #upstreamGone(code: number, reason: string): void {
    const { observer, flight } = this.#parts;
    const failure = { kind: 'broken', cause: `closed with ${code} ${reason}` } as const;
    if (this.#turns.count > 0) observer.faulted(new Fault('upstream_broken', { story: failure.cause }), flight.id);
    this.#turns.endAll((turn) => ({ kind: 'broken', status: STATUS.ended, reading: turn.read(), failure }));
    this.#end(this.#state === 'open' ? { code: passedCode(code, CLOSE.failed), reason } : this.#closing);
  }

  #endIfDone(): void {
    if (this.#state !== 'open' && this.#turns.count === 0) this.#end(this.#closing);
  }

  #isOver(): boolean {
    return this.#state === 'over';
  }

  #end({ code, reason }: Closing): void {
    if (this.#isOver()) return;
    this.#state = 'over';
    const { flight } = this.#parts;
    flight.over = true;
    clearTimeout(flight.drainTimer);
    this.#lifetime.over();
    this.#relay.close('client', code, reason);
    // What ended it here is nothing that the upstream must know.
    this.#relay.close('upstream', CLOSE.normal, '');
    void this.#relay.idle().then(() => {
      // What was held, or had begun, while this ended came too late to be ended with it.
      this.#stopAll('shutdown');
      void this.#turns.settled().then(this.#resolve);
    });
  }
}
