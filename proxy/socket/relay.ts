import type { Frame, SocketEnd } from './socket.ts';

export type Side = 'client' | 'upstream';

export type SocketEvent =
  | { readonly from: Side; readonly frame: Frame }
  | { readonly from: Side; readonly code: number; readonly reason: string };

export interface RelayHandler {
  /** What came next. A promise where something has to be waited for: nothing else comes before it is settled. */
  handle(event: SocketEvent): Promise<void> | undefined;
  /** It threw, or rejected. */
  broke(thrown: unknown): void;
}

/**
 * The two ends of a socket: what comes is handled in its order, one after the other, and neither end is read faster than
 * the other is written.
 */
export class Relay {
  readonly #handler: RelayHandler;
  readonly #ends: Partial<Record<Side, SocketEnd>> = {};
  /** Which of them reads slower than the other writes. */
  readonly #lags: Record<Side, boolean> = { client: false, upstream: false };
  #busy = false;
  #over = false;
  readonly #waiting: SocketEvent[] = [];
  #working: Promise<void> = Promise.resolve();

  constructor(handler: RelayHandler) {
    this.#handler = handler;
  }

  has(side: Side): boolean {
    return this.#ends[side] !== undefined;
  }

  add(from: Side, end: SocketEnd): void {
    this.#ends[from] = end;
    end.listen({
      frame: (frame) => this.#receive({ from, frame }),
      closed: (code, reason) => this.#receive({ from, code, reason }),
      drained: () => this.caughtUp(from),
    });
    // It joins while something is being waited for.
    if (this.#busy) end.pause();
  }

  send(to: Side, frame: Frame): void {
    if (this.#ends[to]?.send(frame) !== false) return;
    this.#lags[to] = true;
    this.#ends[otherOf(to)]?.pause();
  }

  /** A side reads again, or need not any more. */
  caughtUp(side: Side): void {
    this.#lags[side] = false;
    this.#readOn(otherOf(side));
  }

  close(side: Side, code: number, reason: string): void {
    this.#over = true;
    this.#ends[side]?.close(code, reason);
  }

  /** Nothing is handled before this is settled. */
  work(first: Promise<void>): void {
    this.#working = this.#work(first);
  }

  /** Resolves when nothing is being waited for. Never rejects. */
  idle(): Promise<void> {
    return this.#working;
  }

  #readOn(side: Side): void {
    if (!this.#busy && !this.#lags[otherOf(side)]) this.#ends[side]?.resume();
  }

  #receive(event: SocketEvent): void {
    if (this.#over) return;
    if (this.#busy) {
      this.#waiting.push(event);
      return;
    }
    try {
      const work = this.#handler.handle(event);
      if (work) this.work(work);
    } catch (thrown) {
      // Else it would end the process, and all that others have begun in it.
      this.#handler.broke(thrown);
    }
  }

  async #work(first: Promise<void>): Promise<void> {
    this.#busy = true;
    this.#ends.client?.pause();
    this.#ends.upstream?.pause();
    try {
      await first;
      for (let next = this.#waiting.shift(); next && !this.#over; next = this.#waiting.shift()) {
        await this.#handler.handle(next);
      }
    } catch (thrown) {
      this.#handler.broke(thrown);
    }
    this.#busy = false;
    this.#readOn('client');
    this.#readOn('upstream');
  }
}

function otherOf(side: Side): Side {
  return side === 'client' ? 'upstream' : 'client';
}
