import { writeSync } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { segmentPath } from './segment.ts';

/** A write that takes longer does not only fill the page cache: it waits for a disk, and then everything would wait with it. */
const SLOW_WRITE_MS = 5;
/** How long after one the writes are left to the pool of threads. */
const WARY_MS = 1_000;

/**
 * The file at the head of the journal. Writes are all or nothing: after a failure the file is cut back to what was
 * whole before, so that what was refused can never be read as recorded, and the same bytes can be tried again.
 */
export class Appender {
  readonly #dir: string;
  readonly #syncEach: boolean;
  #file: FileHandle | undefined;
  #number: number;
  /** Everything before this offset is whole. */
  #bytes = 0;
  /** There may be something after `#bytes`. */
  #ragged = false;
  #unsynced = false;
  #syncing: Promise<void> | undefined;
  #waryUntilMs = 0;

  /** `lastNumber`: the newest segment that exists; writing begins in the one after it. */
  constructor(dir: string, lastNumber: number, syncEach: boolean) {
    this.#dir = dir;
    this.#number = lastNumber;
    this.#syncEach = syncEach;
  }

  get number(): number {
    return this.#number;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get started(): boolean {
    return this.#file !== undefined;
  }

  /**
   * Begins the next segment. What went into the one before is durable first, under every policy: only the newest
   * segment may have a torn end. When this fails, the segment before stays the head.
   */
  async begin(header: Buffer): Promise<void> {
    await this.sync();
    const number = this.#number + 1;
    const path = segmentPath(this.#dir, number);
    // Truncating: a file of this number can only be what an earlier try could not remove.
    const file = await open(path, 'w');
    try {
      await writeAll(file, header, 0);
      await file.datasync();
      await syncDir(this.#dir);
    } catch (error) {
      await file.close();
      await unlink(path);
      throw error;
    }
    await this.#file?.close();
    this.#file = file;
    this.#number = number;
    this.#bytes = header.length;
    this.#ragged = false;
    this.#unsynced = false;
  }

  /**
   * Writes at once, on this thread, where that is only a copy into the page cache: a tenth of what a call costs is saved.
   * False where it could take long or did not go whole: then `write` is the way, which cuts off what there is of it.
   */
  writeNow(bytes: Buffer): boolean {
    const file = this.#file;
    if (!file || this.#syncEach || this.#ragged || this.#syncing) return false;
    const startMs = performance.now();
    if (startMs < this.#waryUntilMs) return false;
    this.#ragged = true;
    const written = writeSync(file.fd, bytes, 0, bytes.length, this.#bytes);
    const endMs = performance.now();
    if (endMs - startMs > SLOW_WRITE_MS) this.#waryUntilMs = endMs + WARY_MS;
    if (written < bytes.length) return false;
    this.#wrote(bytes.length);
    return true;
  }

  async write(bytes: Buffer): Promise<void> {
    const file = this.#file;
    if (!file) throw new Error('no segment was begun');
    if (this.#ragged) await this.mend();
    this.#ragged = true;
    await writeAll(file, bytes, this.#bytes);
    if (this.#syncEach) await file.datasync();
    this.#wrote(bytes.length);
  }

  #wrote(bytes: number): void {
    if (!this.#syncEach) this.#unsynced = true;
    this.#ragged = false;
    this.#bytes += bytes;
  }

  /** Cuts off what a failed write left. */
  async mend(): Promise<void> {
    if (!this.#file || !this.#ragged) return;
    await this.#file.truncate(this.#bytes);
    this.#ragged = false;
  }

  /** Makes all that was written durable. May run beside a write. */
  async sync(): Promise<void> {
    // What one that is under way makes durable is not so before it ends; and if it fails, the kernel tells nobody else.
    while (this.#syncing) await this.#syncing;
    if (!this.#file || !this.#unsynced) return;
    this.#unsynced = false;
    this.#syncing = this.#file.datasync();
    try {
      await this.#syncing;
    } catch (error) {
      this.#unsynced = true;
      throw error;
    } finally {
      this.#syncing = undefined;
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** Makes a new or deleted name durable. Windows has no such call and needs none. */
export async function syncDir(dir: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
