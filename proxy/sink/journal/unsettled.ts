import type { Cursor, Segment } from './load.ts';
import type { Backlog, ClosingsRange, PageMax } from './read.ts';

export interface UnsettledParts {
  segments: readonly Segment[];
  /** Of the first and all others that a journal had when it was opened. */
  ordinals: number[];
  /** How many closings the journal has. */
  ordinal(): number;
  /** Makes a note of how far they have been settled. */
  mark(ordinal: number): Promise<void>;
}

/** The closings whose limits their store has not settled yet: a course of their own through the same files. */
export class UnsettledClosings {
  readonly #parts: UnsettledParts;
  readonly #watchers = new Set<() => void>();
  #ordinals: number[];
  #cursor: Cursor;

  constructor(parts: UnsettledParts) {
    this.#parts = parts;
    this.#ordinals = parts.ordinals;
    const [first = 0] = this.#ordinals;
    const segment = parts.segments.findLast(({ firstOrdinal }) => firstOrdinal <= first);
    this.#cursor = { segment: segment?.number ?? 0, offset: 0, ordinal: segment?.firstOrdinal ?? 0 };
  }

  get cursor(): Cursor {
    return this.#cursor;
  }

  get ordinal(): number {
    return this.#parts.ordinal();
  }

  get unshipped(): number {
    return this.#ordinals.length;
  }

  get backlog(): Backlog {
    return { count: this.unshipped, bytes: 0 };
  }

  /** Somebody here settles them, in a store that takes their events as well. */
  get isWatched(): boolean {
    return this.#watchers.size > 0;
  }

  /** The ordinal of the first that somebody here will settle; infinite when there is none. */
  get first(): number {
    return (this.isWatched ? this.#ordinals[0] : undefined) ?? Number.POSITIVE_INFINITY;
  }

  watch(onClosings: () => void): () => void {
    this.#watchers.add(onClosings);
    return () => this.#watchers.delete(onClosings);
  }

  range(from: Cursor, max: PageMax): ClosingsRange {
    return { segments: this.#parts.segments, from, untilOrdinal: this.ordinal, max, unsettled: true };
  }

  async shipped(to: Cursor): Promise<void> {
    this.#cursor = to;
    const rest = this.#ordinals.findIndex((ordinal) => ordinal >= to.ordinal);
    this.#ordinals.splice(0, rest < 0 ? this.#ordinals.length : rest);
    await this.#parts.mark(to.ordinal);
  }

  /** Some were written, from this place on. */
  wrote(from: Cursor, places: readonly number[]): void {
    if (places.length === 0) return;
    if (this.#ordinals.length === 0) this.#cursor = from;
    for (const place of places) this.#ordinals.push(from.ordinal + place);
    for (const onClosings of this.#watchers) onClosings();
  }
}
