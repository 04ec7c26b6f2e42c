import { pause } from '#core/pause.ts';
import type { Admitted } from '../admission.ts';
import type { Counted } from '../ending.ts';
import type { Counters, Hold, ReserveAnswer } from '../limits/counters.ts';
import { countInput } from '../tokens/count-input.ts';
import type { TokenCounter } from '../tokens/token-counter.ts';
import type { Reading, Shown } from '../wire/wire.ts';
import { growsWithOutput, heldInParts, holdsAt, leftOf, mostOutput } from './holding.ts';
import type { Rooms } from './rooms.ts';

/** Why there is no more: the limits said so, or could not be asked. */
export type RollEnd = 'spent' | 'unchecked';

export interface RollParts {
  readonly counters: Counters;
  readonly tokens: TokenCounter;
  readonly rooms: Rooms;
  readonly random: () => number;
  /** Whether it may go on to its end while the limits do not answer. */
  readonly mayGoOn: () => boolean;
  readonly failed: (thrown: unknown) => void;
}

/** Parts double, so that a stream asks for more a few times and not for every chunk. */
const GROWTH = 2n;
/** Where little is left, a stream takes this share of it, and at least so many tokens. */
const PART_SHARE = 4n;
const PART_MIN = 16n;
const TRIES_MAX = 3;
/** How long a stream waits for others to give back what they hold and do not use; each another time, so that not all give up at once. */
const ROOM_WAIT_MS = { min: 250, max: 2_000 };
/** However often something was given back meanwhile. */
const ROOM_WAITS_MS_MAX = 10_000;
const ROOM_POLL_MS = { min: 20, max: 150 };

/**
 * A stream that holds a part of what it may answer, and asks for more as it flows. What goes to the client is held
 * before it goes: by the bound of its bytes as long as that does, by a real count of its tokens when it does not, and by
 * asking for another part. When there is no more, the stream is over.
 */
export class Roll {
  readonly #admitted: Admitted;
  /** As its upstream knows it. */
  readonly #model: string;
  readonly #parts: RollParts;
  /** Once `makeRoom` has found none. */
  isOver = false;
  end: RollEnd = 'spent';
  /** Output tokens that may have been shown. */
  #allowed: number;
  /** Tokens of what has been counted, and the bound at which it was. */
  #counted = 0;
  #countedAt = 0;
  #step: bigint;
  #isScarce = false;
  /** Of its limits, by all: when that changes, somebody has ended. */
  #taken: bigint | undefined;
  /** All text that the client got; undefined once there is something that cannot be counted. */
  #text: string | undefined = '';
  #uncounted = '';
  readonly #closed = new AbortController();

  constructor(admitted: Admitted, model: string, parts: RollParts) {
    const part = admitted.part ?? admitted.outputMax;
    this.#admitted = admitted;
    this.#model = model;
    this.#parts = parts;
    this.#allowed = Number(part);
    this.#step = part;
  }

  /** Whether so much may be shown (`Shown.tokensMax`) without asking for more. */
  fits(tokensMax: number): boolean {
    return this.#isTrusted || this.#counted + tokensMax - this.#countedAt <= this.#allowed;
  }

  /** All that it may come to is held, and was there to be held: its upstream keeps the maximum, as of any other call. */
  get #isTrusted(): boolean {
    return this.#isWhole && !this.#isScarce && this.#admitted.outputEach === null;
  }

  get #isWhole(): boolean {
    return BigInt(this.#allowed) >= this.#admitted.outputMax;
  }

  /** What was shown since the last time went to the client. */
  passed(shown: Shown): void {
    this.#add(shown.takeText());
  }

  #add(text: string | undefined): void {
    if (text === undefined || this.#text === undefined) {
      this.#text = undefined;
      return;
    }
    this.#text += text;
    this.#uncounted += text;
  }

  /** Room for what has been shown last and has not gone to the client. False when there is none: then it must not go. */
  async makeRoom(shown: Shown): Promise<boolean> {
    const text = shown.takeText();
    const found = await this.#findRoom(shown.tokensMax, text);
    if (!found) {
      this.isOver = true;
      return false;
    }
    const wasCounted = this.#countedAt === shown.tokensMax;
    this.#add(text);
    if (wasCounted) this.#uncounted = '';
    return true;
  }

  async #findRoom(tokensMax: number, text: string | undefined): Promise<boolean> {
    const lastMs = performance.now() + ROOM_WAITS_MS_MAX;
    let giveUpMs = this.#waitsUntil();
    let taken: bigint | undefined;
    for (;;) {
      if (!this.#isScarce && (await this.#grow()) !== 'full' && this.fits(tokensMax)) return true;
      const isCounted = await this.#count(tokensMax, text);
      if (isCounted && this.fits(tokensMax)) return true;
      const growth = await this.#grow();
      if (this.fits(tokensMax)) return true;
      if (growth === 'grown') continue;
      // What cannot be counted is not more than its upstream was told that it may be.
      if (growth === 'full') return this.#isWhole && !isCounted;
      if (this.#closed.signal.aborted) return false;
      // Somebody has given something back: there may be more of it for those who wait.
      if (taken !== this.#taken) giveUpMs = this.#waitsUntil();
      taken = this.#taken;
      if (performance.now() > Math.min(giveUpMs, lastMs)) return false;
      await pause(ROOM_POLL_MS.min + this.#parts.random() * (ROOM_POLL_MS.max - ROOM_POLL_MS.min), this.#closed.signal);
    }
  }

  #waitsUntil(): number {
    const { min, max } = ROOM_WAIT_MS;
    return performance.now() + min + this.#parts.random() * (max - min);
  }

  /** Counts what has not been counted yet, what waits for room included. */
  async #count(tokensMax: number, text: string | undefined): Promise<boolean> {
    if (this.#countedAt === tokensMax) return true;
    if (text === undefined || this.#text === undefined) return false;
    const count = await this.#parts.tokens.count(this.#model, this.#uncounted + text);
    if (count === undefined) return false;
    this.#counted += Number(count);
    this.#countedAt = tokensMax;
    return true;
  }

  /**
   * Asks for another part. grown: there is one. full: the call holds all that it may come to, or nobody else holds
   * anything that could come back. none: others hold what is left.
   */
  async #grow(): Promise<'grown' | 'full' | 'none'> {
    const { outputMax } = this.#admitted;
    const held = BigInt(this.#allowed);
    if (this.#isWhole) return 'full';
    let wanted = held + this.#step * (this.#isScarce ? 1n : GROWTH);
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const output = wanted < outputMax ? wanted : outputMax;
      const holds = this.#holdsOf(output);
      const answer = await this.#extend(holds);
      this.end = answer ? 'spent' : 'unchecked';
      if (!answer) return this.#goOn();
      if (answer.admitted) {
        this.#step = output - held;
        this.#allowed = Number(output);
        this.#admitted.reservation.holds = holds;
        this.#admitted.part = output;
        return 'grown';
      }
      if (!this.#isScarce) await this.#becomeScarce();
      const most = this.#mostOf(answer);
      if (most <= BigInt(this.#allowed)) return this.#othersHold(answer) ? 'none' : 'full';
      const more = (most - held) / PART_SHARE;
      wanted = more > PART_MIN ? held + more : most < held + PART_MIN ? most : held + PART_MIN;
    }
    return 'none';
  }

  /** The limits do not answer: each says what becomes of calls then. */
  #goOn(): 'grown' | 'none' {
    const { outputMax } = this.#admitted;
    if (!this.#parts.mayGoOn()) return 'none';
    this.#allowed = Number(outputMax);
    this.#admitted.part = outputMax;
    return 'grown';
  }

  /** Little is left: what the bound of the input holds in vain is used for the answer. */
  async #becomeScarce(): Promise<void> {
    this.#isScarce = true;
    this.#step = PART_MIN;
    const admitted = this.#admitted;
    if (admitted.inputCounted !== null) return;
    admitted.inputCounted = (await countInput(this.#parts.tokens, admitted)) ?? null;
    if (admitted.inputCounted === null) return;
    const { holds } = admitted.reservation;
    const most = mostOutput(admitted.outputMax, (output) =>
      holdsAt(admitted, output).every((hold, i) => !growsWithOutput(hold) || hold.amount <= (holds[i] as Hold).amount),
    );
    if (most === undefined || Number(most) <= this.#allowed) return;
    this.#allowed = Number(most);
    admitted.part = most;
  }

  /** Holds for so much output, never less than what is held. */
  #holdsOf(output: bigint): Hold[] {
    const { reservation } = this.#admitted;
    return heldInParts(reservation.holds, holdsAt(this.#admitted, output)).map((hold, i) => {
      const before = reservation.holds[i] as Hold;
      return hold.amount > before.amount ? hold : before;
    });
  }

  /** Undefined where nobody answers. */
  async #extend(holds: readonly Hold[]): Promise<ReserveAnswer | undefined> {
    const { counters, rooms, failed } = this.#parts;
    const { reservation, policy } = this.#admitted;
    try {
      const answer = await counters.extend(
        reservation,
        holds.map((hold) => hold.amount),
      );
      rooms.see(policy, reservation.holds, answer.states);
      return answer;
    } catch (thrown) {
      failed(thrown);
      return undefined;
    }
  }

  /** The most that could be held, with what is held and what is left. */
  #mostOf({ states }: ReserveAnswer): bigint {
    const admitted = this.#admitted;
    const { holds } = admitted.reservation;
    const most = mostOutput(admitted.outputMax, (output) =>
      holdsAt(admitted, output).every((hold, i) => {
        const state = states[i];
        const own = (holds[i] as Hold).amount;
        return !growsWithOutput(hold) || !state || hold.amount <= own + leftOf(hold, state).free;
      }),
    );
    return most ?? 0n;
  }

  #othersHold({ states }: ReserveAnswer): boolean {
    const { holds } = this.#admitted.reservation;
    this.#taken = holds.reduce((sum, hold, i) => {
      const state = states[i];
      return growsWithOutput(hold) && state ? sum + state.used + state.held : sum;
    }, 0n);
    return holds.some((hold, i) => growsWithOutput(hold) && (states[i]?.held ?? 0n) > hold.amount);
  }

  /**
   * All that the client got, really counted; where that cannot be, what its provider said of it, or a guess. Never more
   * than was held.
   */
  async count(reading: Reading): Promise<Counted> {
    const admitted = this.#admitted;
    const counted = this.#text === undefined ? undefined : await this.#parts.tokens.count(this.#model, this.#text);
    const outputTokens = counted ?? reading.usage?.counts.output_tokens ?? reading.outputTokensGuess;
    admitted.inputCounted ??= (await countInput(this.#parts.tokens, admitted)) ?? null;
    const allowed = BigInt(this.#allowed);
    return {
      inputTokens: admitted.inputCounted ?? undefined,
      outputTokens: outputTokens < allowed ? outputTokens : allowed,
    };
  }

  /** Whoever waits for room waits no longer. */
  close(): void {
    this.#closed.abort();
  }
}
