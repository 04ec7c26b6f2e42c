import { randomFillSync } from 'node:crypto';
import { type FileHandle, open, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';

const FILE = 'ballast';

/**
 * Disk space that is held for the closings of calls in flight: a file of real blocks that is deleted when the disk is
 * full, so that what was opened can still be closed. It grows in steps with the number of calls in flight and keeps
 * its highest size.
 */
export class Ballast {
  readonly #path: string;
  readonly #stepBytes: number;
  #bytes: number | undefined;

  constructor(dir: string, stepBytes: number) {
    this.#path = join(dir, FILE);
    this.#stepBytes = stepBytes;
  }

  /** Whether it has so much already. */
  has(bytes: number): boolean {
    return this.#bytes !== undefined && bytes <= this.#bytes;
  }

  /** Rejects when the disk has no room for it; what it had before it keeps. */
  async ensure(bytes: number): Promise<void> {
    this.#bytes ??= await this.#found();
    if (this.has(bytes)) return;
    const target = Math.ceil(bytes / this.#stepBytes) * this.#stepBytes;
    const file = await open(this.#path, 'a');
    try {
      // Random, so that a file system that compresses or skips zeros gives real blocks.
      const step = randomFillSync(Buffer.allocUnsafe(this.#stepBytes));
      while (this.#bytes < target) this.#bytes += await append(file, step);
    } finally {
      await file.close();
    }
  }

  /** Gives the space back. False when there is none to give. */
  async free(): Promise<boolean> {
    this.#bytes ??= await this.#found();
    if (this.#bytes === 0) return false;
    await unlink(this.#path);
    this.#bytes = 0;
    return true;
  }

  async #found(): Promise<number> {
    try {
      return (await stat(this.#path)).size;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0;
      throw error;
    }
  }
}

async function append(file: FileHandle, bytes: Buffer): Promise<number> {
  const { bytesWritten } = await file.write(bytes);
  return bytesWritten;
}
