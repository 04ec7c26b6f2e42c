import type { Config } from '#config/config.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import type { Attempt } from '#core/usage-event.ts';
import type { WorstCase } from './cost.ts';
import type { Stop } from './ending.ts';
import type { Exchange } from './exchange.ts';
import type { Call, Reply } from './inbound/call.ts';
import type { Reservation } from './limits/counters.ts';
import type { CallSeen } from './observer.ts';
import type { Target } from './upstream/route-table.ts';
import type { Asked, Wire } from './wire/wire.ts';

/** What is known of a call once it has been admitted. It keeps the configuration that it began with. */
export interface Admitted {
  readonly config: Config;
  readonly policy: KeyPolicy;
  readonly wire: Wire;
  readonly endpoint: string;
  readonly body: Uint8Array;
  readonly asked: Asked;
  readonly seen: CallSeen;
  readonly user: string | null;
  readonly session: string | null;
  readonly labels: Record<string, string>;
  readonly targets: readonly Target[];
  readonly worst: WorstCase;
  readonly reservation: Reservation;
}

/** One call from its first byte to its last: what has happened so far, and the one way to stop it. */
export class Flight {
  readonly id: string;
  readonly atMs: number;
  readonly call: Call;
  readonly reply: Reply;
  readonly attempts: Attempt[] = [];
  /** The upstream whose answer is, or was last, on its way. */
  target: Target | null = null;
  exchange: Exchange | null = null;
  /** What the client was told; null until it was told something. */
  status: number | null = null;
  firstBytesMs: number | null = null;
  /** The client's connection is gone; the upstream may still be read. */
  gone = false;
  stopped: Stop | null = null;
  /** It has been told, settled and kept, or is about to be: nothing can change it any more. */
  over = false;
  drainTimer: ReturnType<typeof setTimeout> | undefined;
  #wake: (() => void) | undefined;

  constructor(id: string, atMs: number, call: Call, reply: Reply) {
    this.id = id;
    this.atMs = atMs;
    this.call = call;
    this.reply = reply;
  }

  /** The first reason stays. */
  stop(why: Stop): void {
    this.stopped ??= why;
    this.exchange?.stop();
    this.#wake?.();
  }

  /** Waits, unless and until the call is stopped. */
  async wait(ms: number): Promise<void> {
    if (ms <= 0 || this.stopped) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#wake = resolve;
    await promise;
    this.#wake = undefined;
    clearTimeout(timer);
  }
}
