import type { GatewaySettings } from '#config/config.ts';
import { type DataDirLock, lockDataDir } from '#config/data-dir.ts';
import { Fault } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import type { Clock } from '#core/time.ts';
import { Committer, type Group } from './committer.ts';
import { backlogOf, type Cursor, type Cut, type Loaded, loadJournal, type Segment } from './load.ts';
import { type Backlog, bodyOfCall, type ClosingsRange, type JournalEntry, type PageMax, readOpenings } from './read.ts';
import { Reaper } from './reaper.ts';
import { bodyOf, type ClosingKind, charsOf, JOURNAL_VERSION } from './record.ts';
import { segmentPath } from './segment.ts';
import { UnsettledClosings } from './unsettled.ts';

export type { Cursor, Cut } from './load.ts';
export { type Backlog, type ClosingsRange, type JournalEntry, type PageMax, readClosings } from './read.ts';

export interface JournalOptions {
  /** A directory of its own. */
  dir: string;
  settings: GatewaySettings['journal'];
  now: Clock;
  log: Log;
}

/** Room that every call in flight keeps for its closing. Most take a third of it; larger ones go in all the same. */
export const CLOSING_BYTES = 4096;

/** More than this waiting for a write means that the disk hangs. */
const QUEUE_CHARS_MAX = 64 * 1024 * 1024;

/** Opens the journal of a directory that no other process uses. Throws `data_dir_locked` or `journal_corrupt`. */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const lock = lockDataDir(options.dir);
  try {
    return new Journal(options, lock, await loadJournal(options.dir));
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The append-only record of what was opened and how it was closed. docs/journal.md says what it promises. */
export class Journal {
  /** What a crash had left unfinished, cut off when the journal was opened. */
  readonly cut: Cut | undefined;

  readonly #options: JournalOptions;
  readonly #lock: DataDirLock;
  readonly #committer: Committer;
  readonly #reaper: Reaper;
  readonly #segments: Segment[];
  /** Opened and not closed, with the segment that holds the opening. */
  readonly #live: Map<string, Segment>;
  readonly #watchers = new Set<() => void>();
  /** Those whose limits the store has to settle yet, on their own way. */
  readonly unsettled: UnsettledClosings;
  #cursor: Cursor;
  #ordinal: number;
  #bytes: number;
  #full: Fault | undefined;
  #closed = false;

  constructor(options: JournalOptions, lock: DataDirLock, loaded: Loaded) {
    this.#options = options;
    this.#lock = lock;
    this.#segments = loaded.segments;
    this.#live = loaded.live;
    this.#cursor = loaded.cursor;
    this.#ordinal = loaded.ordinal;
    this.#bytes = loaded.segments.reduce((sum, segment) => sum + segment.bytes, 0);
    this.cut = loaded.cut;
    this.unsettled = new UnsettledClosings({
      segments: this.#segments,
      ordinals: loaded.unsettled,
      ordinal: () => this.#ordinal,
      mark: (ordinal) => this.#committer.append(bodyOf('R', String(ordinal))),
    });
    if (loaded.cut)
      options.log.warn({ ...loaded.cut }, 'The journal ended in an unfinished record, which was cut off.');
    this.#committer = new Committer(options.dir, loaded.segments.at(-1)?.number ?? 0, options.settings, {
      header: () => bodyOf('H', `${JOURNAL_VERSION}\t${this.#ordinal}\t${this.#segments.at(-1)?.bytes ?? 0}`),
      begun: (number, bytes) => this.#begun(number, bytes),
      wrote: (group, startOffset, bytes) => this.#wrote(group, startOffset, bytes),
      reservedBytes: () => this.#reservedBytes(0),
      broke: (fault) => this.#say(fault),
    });
    this.#reaper = new Reaper({
      options,
      segments: this.#segments,
      live: this.#live,
      committer: this.#committer,
      bytes: () => this.#bytes,
      isClosed: () => this.#closed,
      unsettled: this.unsettled,
      cursor: () => this.#cursor,
      skip: (to) => void this.shipped(to),
      deleted: (bytes) => {
        this.#bytes -= bytes;
      },
    });
  }

  /** Resolves when the opening is recorded. Rejects with `journal_unavailable`: it is not recorded then, now or later. */
  opened(id: string, event: string, reservation: string, used: string): Promise<void> {
    const body = bodyOfCall('O', { id, atMs: this.#options.now(), event, reservation, used });
    const refusal = this.#refusal(charsOf(body));
    return refusal ? Promise.reject(refusal) : this.#committer.open(id, body);
  }

  /** Resolves when the closing is recorded, however long the disk takes to have room. Only the first closing counts. */
  closed(id: string, event: string, reservation = '', used = ''): Promise<void> {
    return this.#close('C', { id, event, reservation, used });
  }

  /** The same, and the store of the limits has to be told yet. */
  closedUnsettled(id: string, event: string, reservation: string, used: string): Promise<void> {
    return this.#close('U', { id, event, reservation, used });
  }

  /** The same, and the store has settled its limits and has the event as well. */
  closedSettled(id: string, event: string, counts: string): Promise<void> {
    return this.#close('K', { id, event, reservation: counts, used: '' });
  }

  /** Nothing was served: no event comes of the opening. */
  abandoned(id: string): Promise<void> {
    return this.#end(id) ? this.#committer.append(bodyOf('A', id)) : this.#committer.written();
  }

  /** Every closing before this place is durable in billing. */
  async shipped(to: Cursor): Promise<void> {
    // What was let go of meanwhile may be behind it.
    if (to.ordinal >= this.#cursor.ordinal) this.#cursor = to;
    await this.#committer.append(bodyOf('S', `${to.segment}\t${to.offset}\t${to.ordinal}`));
  }

  /** Ships the newest segment once more: what became of its closings elsewhere may be lost. */
  rewind(): void {
    const { number: segment = 0, firstOrdinal: ordinal = Number.POSITIVE_INFINITY } = this.#segments.at(-1) ?? {};
    if (ordinal < this.#cursor.ordinal) this.#cursor = { segment, offset: 0, ordinal };
    for (const onClosings of this.#watchers) onClosings();
  }

  /** How many closings there have been since the journal began. */
  get ordinal(): number {
    return this.#ordinal;
  }

  isLive(id: string): boolean {
    return this.#live.has(id);
  }

  get liveCount(): number {
    return this.#live.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Why openings are refused at the moment, if they are. */
  get fault(): Fault | undefined {
    return this.#committer.broken ?? this.#full;
  }

  /** Where the first closing that has not been shipped is, or will be. */
  get cursor(): Cursor {
    return this.#cursor;
  }

  /** How many closings have not been shipped. */
  get unshipped(): number {
    return this.#ordinal - this.#cursor.ordinal;
  }

  get backlog(): Backlog {
    return backlogOf(this.#segments, this.#cursor, this.unshipped);
  }

  /** Calls back after every write that recorded closings. Answers how to stop it. */
  watch(onClosings: () => void): () => void {
    this.#watchers.add(onClosings);
    return () => this.#watchers.delete(onClosings);
  }

  /** Where in the files the closings from a place on stand. */
  range(from: Cursor, max: PageMax): ClosingsRange {
    return { segments: this.#segments, from, untilOrdinal: this.#ordinal, max };
  }

  /** What was opened and not closed: what recovery has to close. */
  live(): Promise<JournalEntry[]> {
    return readOpenings(this.#segments, this.#live);
  }

  /** Resolves when all that was appended before is as durable as the policy ever makes it. */
  flush(): Promise<void> {
    return this.#options.settings.fsync === 'never' ? this.#committer.written() : this.#committer.synced();
  }

  /** Writes what is queued and gives the directory back. Rejects when the disk does not take what is queued. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#committer.close().finally(() => this.#lock.release());
  }

  /** An event of no call; `isElsewhere`: the store has it as well. */
  noted(id: string, event: string, isElsewhere: boolean): Promise<void> {
    return this.#append(isElsewhere ? 'K' : 'C', { id, event, reservation: '', used: '' });
  }

  #close(kind: ClosingKind, call: Omit<JournalEntry, 'atMs'>): Promise<void> {
    return this.#end(call.id) ? this.#append(kind, call) : this.#committer.written();
  }

  #append(kind: ClosingKind, call: Omit<JournalEntry, 'atMs'>): Promise<void> {
    const { group } = this.#committer;
    if (kind === 'U') group.unsettled.push(group.closings);
    if (kind === 'C') group.onlyHere++;
    group.closings++;
    return this.#committer.append(bodyOfCall(kind, { ...call, atMs: this.#options.now() }));
  }

  /** Takes a call out of those in flight. False when it is not one of them. */
  #end(id: string): boolean {
    const segment = this.#live.get(id);
    if (!segment) return false;
    this.#live.delete(id);
    this.#committer.group.ended.push(segment);
    return true;
  }

  #refusal(chars: number): Fault | undefined {
    if (this.#closed) return new Fault('journal_unavailable', { story: 'The journal is closed.' });
    if (this.#committer.broken) return this.#committer.broken;
    const { bytesMax } = this.#options.settings;
    const queued = this.#committer.queuedChars + chars;
    if (this.#bytes + queued + this.#reservedBytes(1) <= bytesMax && queued <= QUEUE_CHARS_MAX) {
      if (this.#full) {
        this.#full = undefined;
        this.#say(undefined);
      }
      return undefined;
    }
    if (!this.#full) {
      const story = `The journal holds ${this.#bytes} of ${bytesMax} bytes, ${queued} wait to be written, ${this.unshipped} closings are not shipped, ${this.#live.size} calls are in flight.`;
      this.#full = new Fault('journal_unavailable', { story });
      this.#say(this.#full);
    }
    return this.#full;
  }

  #say(fault: Fault | undefined): void {
    const { log, dir } = this.#options;
    if (fault) log.error({ dir, code: fault.code }, `No calls are taken. ${fault.story}`);
    else log.info({ dir }, 'The journal can be written again: calls are taken.');
  }

  /** Bytes that the closings of calls in flight may take, and of so many more. */
  #reservedBytes(more: number): number {
    return (this.#live.size + this.#committer.queuedOpenings + more) * CLOSING_BYTES;
  }

  #begun(number: number, bytes: number): void {
    const path = segmentPath(this.#options.dir, number);
    this.#segments.push({ number, path, bytes, live: 0, firstOrdinal: this.#ordinal, onlyHere: 0 });
    this.#bytes += bytes;
  }

  #wrote(group: Group, startOffset: number, bytes: number): void {
    const head = this.#segments.at(-1);
    if (!head) throw new Error('a group was written before a segment was begun');
    head.bytes += bytes;
    this.#bytes += bytes;
    for (const segment of group.ended) segment.live--;
    for (const id of group.openingIds) this.#live.set(id, head);
    head.live += group.openingIds.length;
    for (const { id, from } of group.carried) {
      // It may have been closed while its copy waited to be written.
      if (this.#live.get(id) !== from) continue;
      this.#live.set(id, head);
      from.live--;
      head.live++;
    }
    if (group.closings > 0) {
      // Nothing waits to be shipped: whoever ships need not read what is before this group.
      const idle = this.#cursor.ordinal === this.#ordinal;
      const from = { segment: head.number, offset: startOffset, ordinal: this.#ordinal };
      if (idle) this.#cursor = from;
      head.onlyHere += group.onlyHere;
      this.#ordinal += group.closings;
      this.unsettled.wrote(from, group.unsettled);
      for (const onClosings of this.#watchers) onClosings();
    }
    this.#reaper.reap();
  }
}
