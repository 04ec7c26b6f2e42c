import { unlink } from 'node:fs/promises';
import type { Committer } from './committer.ts';
import type { JournalOptions } from './journal.ts';
import type { Cursor, Segment } from './load.ts';
import { visitOpenings } from './read.ts';
import type { UnsettledClosings } from './unsettled.ts';

/** Openings of long calls are copied out of old segments only when the journal is this full: most end by themselves. */
const CARRY_FROM_SHARE = 4;
/** From this half on, closings that are in the store as well are let go of, the oldest first: no call is refused for them. */
const LET_GO_FROM_SHARE = 2;

export interface ReaperParts {
  options: JournalOptions;
  segments: Segment[];
  live: ReadonlyMap<string, Segment>;
  committer: Committer;
  bytes(): number;
  isClosed(): boolean;
  unsettled: Pick<UnsettledClosings, 'first' | 'isWatched'>;
  /** Closings before it are in billing. */
  cursor(): Cursor;
  /** Goes on as if they were up to there. */
  skip(to: Cursor): void;
  deleted(bytes: number): void;
}

/** Deletes segments from the oldest on: a closing is never deleted before the opening that it closes. */
export class Reaper {
  readonly #parts: ReaperParts;
  #reaping = false;

  constructor(parts: ReaperParts) {
    this.#parts = parts;
  }

  reap(): void {
    if (!this.#reaping && this.#reapable()) void this.#reap();
  }

  /** The oldest segment, when it is neither the newest nor needed any longer. */
  #reapable(): Segment | undefined {
    const { segments, options, bytes, unsettled } = this.#parts;
    const [oldest, second] = segments;
    if (!oldest || !second || second.firstOrdinal > unsettled.first || !this.#isOver(oldest, second)) return undefined;
    return oldest.live === 0 || bytes() > options.settings.bytesMax / CARRY_FROM_SHARE ? oldest : undefined;
  }

  /** Its closings are in billing, or there is no more room for a second copy of them. */
  #isOver(oldest: Segment, { number, firstOrdinal }: Segment): boolean {
    const { options, bytes, cursor, skip, unsettled } = this.#parts;
    const { log, dir, settings } = options;
    const events = firstOrdinal - cursor().ordinal;
    if (events <= 0) return true;
    if (oldest.onlyHere > 0 || !unsettled.isWatched) return false;
    if (bytes() <= settings.bytesMax / LET_GO_FROM_SHARE) return false;
    log.error({ dir, events }, 'The journal is half full: it lets go of events that billing has not taken from Redis.');
    skip({ segment: number, offset: 0, ordinal: firstOrdinal });
    return true;
  }

  async #reap(): Promise<void> {
    const { segments, committer, isClosed, deleted } = this.#parts;
    this.#reaping = true;
    try {
      for (let oldest = this.#reapable(); oldest && !isClosed(); oldest = this.#reapable()) {
        if (oldest.live > 0) await this.#carry(oldest);
        // Durable first: the closings of its calls, and the mark that its own closings are shipped.
        await committer.synced();
        if (oldest.live > 0) break;
        await unlink(oldest.path);
        segments.shift();
        deleted(oldest.bytes);
      }
    } catch (error) {
      committer.fail(error);
    } finally {
      this.#reaping = false;
    }
  }

  /** Copies the openings of calls that are still in flight to the newest segment. */
  async #carry(from: Segment): Promise<void> {
    const { live, committer } = this.#parts;
    await visitOpenings(from, (id, body) => {
      // Checked and queued in one step: a closing can only come after the copy.
      if (live.get(id) !== from) return;
      committer.group.carried.push({ id, from });
      void committer.append(body);
    });
  }
}
