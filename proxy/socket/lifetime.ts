import type { Clock } from '#core/time.ts';
import { CLOSE, type Closing } from './socket.ts';

export interface LifetimeParts {
  readonly clock: Clock;
  readonly settings: { readonly socketTimeoutMs: number; readonly socketIdleTimeoutMs: number };
  /** It has been open, or silent, for as long as it may be. */
  onEnd(closing: Closing): void;
}

/** How long a socket may last, and be silent. No timer is touched for a message: the one that runs looks when the last came. */
export class Lifetime {
  readonly #parts: LifetimeParts;
  readonly #whole: ReturnType<typeof setTimeout>;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #seenMs: number;

  constructor(parts: LifetimeParts) {
    const { socketTimeoutMs, socketIdleTimeoutMs } = parts.settings;
    this.#parts = parts;
    this.#seenMs = parts.clock();
    this.#whole = setTimeout(
      () => parts.onEnd({ code: CLOSE.goingAway, reason: `A socket lasts ${socketTimeoutMs} ms at most.` }),
      socketTimeoutMs,
    );
    this.#watch(socketIdleTimeoutMs);
  }

  seen(): void {
    this.#seenMs = this.#parts.clock();
  }

  over(): void {
    clearTimeout(this.#whole);
    clearTimeout(this.#idle);
  }

  #watch(ms: number): void {
    const { clock, settings, onEnd } = this.#parts;
    this.#idle = setTimeout(() => {
      const left = this.#seenMs + settings.socketIdleTimeoutMs - clock();
      if (left > 0) this.#watch(left);
      else onEnd({ code: CLOSE.goingAway, reason: 'Nothing was said for too long.' });
    }, ms);
  }
}
