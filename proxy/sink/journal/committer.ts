import type { GatewaySettings } from '#config/config.ts';
import { Fault } from '#core/fault.ts';
import { Appender } from './appender.ts';
import { Ballast } from './ballast.ts';
import type { Segment } from './load.ts';
import { charsOf, type RecordBody, RecordEncoder } from './record.ts';

const BALLAST_STEP_BYTES = 1024 * 1024;
const PROBE_MS = 250;

/** What one write makes durable (the bodies of its records), who waits for it, and what the journal has to note once it is written. */
export interface Group {
  openings: RecordBody[];
  openingIds: string[];
  openingChars: number;
  /** Everything but openings, in order: these are never refused. */
  others: RecordBody[];
  otherChars: number;
  /** How many of them are closings, how many of these are nowhere else, and which are unsettled, counted from 0. */
  closings: number;
  onlyHere: number;
  unsettled: number[];
  /** The segments whose calls end with this group, one for each call. */
  ended: Segment[];
  /** Calls whose opening is copied here from an older segment. */
  carried: { id: string; from: Segment }[];
  opened: PromiseWithResolvers<void>;
  written: PromiseWithResolvers<void>;
}

/** What the committer asks of the journal whose records it writes. */
export interface CommitterHooks {
  /** The first record of a segment that begins now. */
  header(): RecordBody;
  /** The segment is there. */
  begun(number: number, bytes: number): void;
  /** The group is written, from this offset of the newest segment on. */
  wrote(group: Group, startOffset: number, bytes: number): void;
  /** How many bytes the closings of all calls in flight may take. */
  reservedBytes(): number;
  /** Openings are refused from now on, or with undefined taken again. */
  broke(fault: Fault | undefined): void;
}

/**
 * Group commit: records queue while a write is in flight, and the next write takes all of them. There is one writer, the
 * loop in `#run`, so that everything that touches the newest segment happens in one order.
 *
 * When the disk fails, openings are refused and everything else is tried again until it is written, in the space that
 * the ballast gives back. The disk is probed, and when it holds again what calls in flight need, openings are taken.
 */
export class Committer {
  /** The group that is filling. */
  group = newGroup();
  readonly #settings: GatewaySettings['journal'];
  readonly #hooks: CommitterHooks;
  readonly #appender: Appender;
  readonly #ballast: Ballast;
  readonly #encoder = new RecordEncoder();
  #writing: Group | undefined;
  #running = false;
  #closed = false;
  #broken: Fault | undefined;
  #probeDue = false;
  #probeTimer: NodeJS.Timeout | undefined;
  #syncTimer: NodeJS.Timeout | undefined;

  constructor(dir: string, lastSegment: number, settings: GatewaySettings['journal'], hooks: CommitterHooks) {
    this.#settings = settings;
    this.#hooks = hooks;
    this.#appender = new Appender(dir, lastSegment, settings.fsync === 'always');
    this.#ballast = new Ballast(dir, Math.min(BALLAST_STEP_BYTES, Math.ceil(settings.bytesMax / 16)));
  }

  get broken(): Fault | undefined {
    return this.#broken;
  }

  get queuedChars(): number {
    return charsIn(this.group) + (this.#writing ? charsIn(this.#writing) : 0);
  }

  get queuedOpenings(): number {
    return this.group.openings.length + (this.#writing?.openings.length ?? 0);
  }

  open(id: string, body: RecordBody): Promise<void> {
    const group = this.group;
    group.openings.push(body);
    group.openingIds.push(id);
    group.openingChars += charsOf(body);
    this.#wake();
    return group.opened.promise;
  }

  append(body: RecordBody): Promise<void> {
    const group = this.group;
    group.others.push(body);
    group.otherChars += charsOf(body);
    this.#wake();
    return group.written.promise;
  }

  /** Resolves when all that was queued before is written. */
  written(): Promise<void> {
    if (!isEmpty(this.group)) return this.group.written.promise;
    return this.#writing?.written.promise ?? Promise.resolve();
  }

  /** The same, and durable under every policy. */
  async synced(): Promise<void> {
    await this.written();
    await this.#appender.sync();
  }

  /** Writes what is queued and closes the file. On a disk that takes no writes it tries once more and rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#probeTimer);
    clearTimeout(this.#syncTimer);
    try {
      await (this.#settings.fsync === 'never' ? this.written() : this.synced());
    } finally {
      await this.#appender.close();
    }
  }

  /** Something else that belongs to writing has failed: treated as a failed write. */
  fail(error: unknown): void {
    if (!this.#broken) {
      const story = `The journal cannot be written: ${error instanceof Error ? error.message : String(error)}`;
      this.#broken = new Fault('journal_unavailable', { story, cause: error });
      this.#hooks.broke(this.#broken);
    }
    if (this.#closed) return;
    clearTimeout(this.#probeTimer);
    this.#probeTimer = setTimeout(() => {
      this.#probeDue = true;
      this.#wake();
    }, PROBE_MS).unref();
  }

  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    // Not at once: what else arrives in this turn of the event loop goes into the same write.
    setImmediate(() => void this.#run());
  }

  async #run(): Promise<void> {
    for (;;) {
      if (this.#probeDue) await this.#probe();
      const group = this.group;
      if (isEmpty(group)) break;
      this.group = newGroup();
      this.#writing = group;
      if (!this.#commitNow(group)) await this.#commit(group);
      this.#writing = undefined;
    }
    this.#running = false;
  }

  /** As nearly always: nothing is to be made room for, and the write only fills the page cache. */
  #commitNow(group: Group): boolean {
    if (this.#broken || !this.#appender.started || this.#appender.bytes >= this.#settings.segmentBytesMax) return false;
    if (group.openings.length > 0 && !this.#ballast.has(this.#hooks.reservedBytes())) return false;
    const startOffset = this.#appender.bytes;
    try {
      const bytes = this.#encoder.encode(group.others.concat(group.openings));
      if (!this.#appender.writeNow(bytes)) return false;
    } catch (error) {
      this.fail(error);
      return false;
    }
    this.#hooks.wrote(group, startOffset, this.#appender.bytes - startOffset);
    this.#resolve(group);
    return true;
  }

  async #commit(group: Group): Promise<void> {
    if (!this.#broken) await this.#makeRoom(group);
    if (this.#broken) await this.#refuseOpenings(group, this.#broken);
    while (!isEmpty(group)) {
      const place = await this.#write(group);
      if (place) {
        this.#hooks.wrote(group, place.startOffset, place.bytes);
        break;
      }
      if (this.#broken) await this.#refuseOpenings(group, this.#broken);
      if (await this.#ballast.free()) continue;
      if (this.#closed) {
        group.written.reject(this.#broken);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, PROBE_MS));
    }
    this.#resolve(group);
  }

  /** Not before what a failed write left of them is cut off: the next start would read it as recorded, and bill it. */
  async #refuseOpenings(group: Group, fault: Fault): Promise<void> {
    if (group.openings.length === 0) return;
    try {
      await this.#appender.mend();
    } catch (error) {
      this.fail(error);
    }
    group.openings = [];
    group.openingIds = [];
    group.openingChars = 0;
    group.opened.reject(fault);
  }

  #resolve(group: Group): void {
    group.opened.resolve();
    group.written.resolve();
    if (this.#settings.fsync === 'interval') this.#syncLater();
  }

  /** A new segment when it is time, and the ballast for what is about to be opened. */
  async #makeRoom(group: Group): Promise<void> {
    try {
      if (!this.#appender.started || this.#appender.bytes >= this.#settings.segmentBytesMax) await this.#begin();
      if (group.openings.length > 0) await this.#ballast.ensure(this.#hooks.reservedBytes());
    } catch (error) {
      this.fail(error);
    }
  }

  async #begin(): Promise<void> {
    await this.#appender.begin(this.#encoder.encode([this.#hooks.header()]));
    this.#hooks.begun(this.#appender.number, this.#appender.bytes);
  }

  async #write(group: Group): Promise<{ startOffset: number; bytes: number } | undefined> {
    try {
      if (!this.#appender.started) await this.#begin();
      const bytes = this.#encoder.encode(group.others.concat(group.openings));
      const startOffset = this.#appender.bytes;
      await this.#appender.write(bytes);
      return { startOffset, bytes: bytes.length };
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  async #probe(): Promise<void> {
    this.#probeDue = false;
    if (!this.#broken) return;
    try {
      if (!this.#appender.started) await this.#begin();
      await this.#appender.mend();
      await this.#appender.sync();
      await this.#ballast.ensure(Math.max(1, this.#hooks.reservedBytes()));
      this.#broken = undefined;
      this.#hooks.broke(undefined);
    } catch (error) {
      this.fail(error);
    }
  }

  #syncLater(): void {
    if (this.#syncTimer || this.#closed) return;
    this.#syncTimer = setTimeout(() => {
      this.#appender.sync().catch((error: unknown) => this.fail(error));
      this.#syncTimer = undefined;
    }, this.#settings.fsyncIntervalMs).unref();
  }
}

function newGroup(): Group {
  const opened = Promise.withResolvers<void>();
  const written = Promise.withResolvers<void>();
  // Whoever waits sees the rejection; that nobody waits (for a mark, say) is no fault of its own.
  opened.promise.catch(() => undefined);
  written.promise.catch(() => undefined);
  return {
    openings: [],
    openingIds: [],
    openingChars: 0,
    others: [],
    otherChars: 0,
    closings: 0,
    onlyHere: 0,
    unsettled: [],
    ended: [],
    carried: [],
    opened,
    written,
  };
}

function isEmpty(group: Group): boolean {
  return group.openings.length + group.others.length === 0;
}

function charsIn(group: Group): number {
  return group.openingChars + group.otherChars;
}
