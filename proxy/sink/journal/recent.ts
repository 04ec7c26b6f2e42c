import type { Cursor } from './load.ts';
import type { JournalEntry, Page, PageMax } from './read.ts';

/** What is behind by more than this is read from the disk. */
const CHARS_MAX = 4 * 1024 * 1024;

/** Closings that one write recorded, and the place after them. */
interface Written {
  entries: readonly JournalEntry[];
  chars: number;
  next: Cursor;
}

/**
 * The newest closings that have not been shipped, as they were written: whoever ships as fast as calls end reads
 * nothing back from the disk.
 */
export class RecentClosings {
  /** Without gaps, up to the last closing there is. */
  readonly #writes: Written[] = [];
  #chars = 0;

  add(entries: readonly JournalEntry[], next: Cursor): void {
    const chars = entries.reduce((sum, { event, reservation }) => sum + event.length + reservation.length, 0);
    this.#writes.push({ entries, chars, next });
    this.#chars += chars;
    while (this.#chars > CHARS_MAX) this.#drop();
  }

  shipped(to: Cursor): void {
    for (let oldest = this.#writes[0]; oldest && oldest.next.ordinal <= to.ordinal; oldest = this.#writes[0]) {
      this.#drop();
    }
  }

  /** Undefined when it takes the disk to answer: they are older, or fewer are wanted than one write recorded. */
  read(from: Cursor, max: PageMax): Page | undefined {
    const entries: JournalEntry[] = [];
    let next = from;
    let chars = 0;
    for (const write of this.#writes) {
      if (write.next.ordinal <= next.ordinal) continue;
      const missing = write.next.ordinal - next.ordinal;
      // Places inside a write are not known here.
      if (missing > write.entries.length || entries.length + missing > max.count || chars >= max.bytes) break;
      entries.push(...write.entries.slice(write.entries.length - missing));
      chars += write.chars;
      next = write.next;
    }
    return entries.length === 0 ? undefined : { entries, next };
  }

  #drop(): void {
    this.#chars -= this.#writes.shift()?.chars ?? 0;
  }
}
