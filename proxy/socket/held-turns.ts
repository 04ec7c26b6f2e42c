import type { Clock } from '#core/time.ts';
import type { Ending } from '../ending.ts';
import type { Turn } from '../wire/socket-wire.ts';
import type { NotHeld, OpenSocket, SocketBooks, SocketCall } from './books.ts';

/** What is held ahead is held anew when it is so old: its event bears the time of its hold. */
const AHEAD_FRESH_MS = 30_000;

export interface HeldTurnsParts {
  readonly books: SocketBooks;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  /** A turn is stopped from outside. */
  onStop(call: SocketCall): void;
}

/** The turns of one socket that are held: those that have begun, and those that may. */
export class HeldTurns {
  readonly #parts: HeldTurnsParts;
  readonly #calls = new Map<Turn, SocketCall>();
  readonly #closings = new Set<Promise<void>>();
  /** Those that were held, whatever has become of them. */
  readonly #once = new WeakSet<Turn>();

  constructor(parts: HeldTurnsParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#calls.size;
  }

  has(turn: Turn): boolean {
    return this.#calls.has(turn);
  }

  /** What was held ahead long ago, or for less than may begin by now, is held anew. */
  isHeld(turn: Turn): boolean {
    const call = this.#calls.get(turn);
    if (!call) return false;
    if (call.isSent) return true;
    const isFresh = this.#parts.clock() - call.heldMs < AHEAD_FRESH_MS;
    if (isFresh && turn.covers(call.admitted.asked)) return true;
    this.#abandon(turn, call);
    return false;
  }

  async hold(socket: OpenSocket, turn: Turn): Promise<SocketCall | NotHeld> {
    await this.settled();
    const held = await this.#parts.books.hold(socket, turn, this.#once.has(turn), this.#parts.onStop);
    if ('notHeld' in held) return held.notHeld;
    this.#once.add(turn);
    this.#calls.set(turn, held.call);
    return held.call;
  }

  /** A turn that has begun without leave. */
  async owe(socket: OpenSocket, turn: Turn): Promise<NotHeld | null> {
    await this.settled();
    const { call, notHeld } = await this.#parts.books.owe(socket, turn, this.#parts.onStop);
    this.#calls.set(turn, call);
    this.begin(call);
    return notHeld;
  }

  /** The upstream has it. */
  begin(call: SocketCall): void {
    if (call.isSent) return;
    call.isSent = true;
    call.deadline = setTimeout(() => call.flight.stop('deadline'), this.#parts.callTimeoutMs);
  }

  /** It answers. */
  began(turn: Turn): void {
    const call = this.#calls.get(turn);
    if (!call) return;
    this.begin(call);
    call.flight.firstBytesMs ??= this.#parts.clock();
  }

  end(turn: Turn, ending: Ending): void {
    const call = this.#calls.get(turn);
    if (!call) return;
    this.#calls.delete(turn);
    this.#keep(this.#parts.books.close(call, ending));
  }

  endAll(endingOf: (turn: Turn) => Ending): void {
    this.abandonAhead();
    for (const turn of [...this.#calls.keys()]) this.end(turn, endingOf(turn));
  }

  /** It was held ahead, and will not begin. */
  drop(turn: Turn): void {
    const call = this.#calls.get(turn);
    if (call && !call.isSent) this.#abandon(turn, call);
  }

  /** What was held and has not begun never will. */
  abandonAhead(): void {
    for (const [turn, call] of this.#calls) if (!call.isSent) this.#abandon(turn, call);
  }

  /** The client has gone: nobody is told. */
  clientGone(): void {
    for (const { flight } of this.#calls.values()) flight.gone = true;
  }

  /** All that is over is settled: what it gives back may be what the next one needs. */
  async settled(): Promise<void> {
    await Promise.all(this.#closings);
  }

  #abandon(turn: Turn, call: SocketCall): void {
    this.#calls.delete(turn);
    this.#keep(this.#parts.books.abandon(call));
  }

  #keep(closing: Promise<void>): void {
    this.#closings.add(closing);
    void closing.then(() => this.#closings.delete(closing));
  }
}
