import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Fault } from '#core/fault.ts';

/** The file that carries the lock, and the one that tells a person who holds it. Neither is ever deleted. */
const LOCK_FILE = 'lock';
const OWNER_FILE = 'lock.owner';

/**
 * What the file system refused at a start is for the operator to mend: `data_dir_unusable`, with its own words, which
 * name the file. Anything else stays what it is.
 */
export function asDataDirFault(thrown: unknown): unknown {
  if (!(thrown instanceof Error) || !('syscall' in thrown) || !('path' in thrown)) return thrown;
  return new Fault('data_dir_unusable', { detail: `${thrown.message}.`, cause: thrown });
}

export interface DataDirLock {
  /** Gives the directory to the next process. Idempotent. */
  release(): void;
}

/**
 * Takes a data directory for this process alone, making it if it is missing, or throws `data_dir_locked`.
 *
 * The lock is the operating system's own (fcntl, LockFileEx): it ends with the process, however that ends, and it
 * holds between containers that share a volume, where process ids say nothing. Node has no call for it, but the SQLite
 * that is built into Node takes it on an empty file for as long as an exclusive transaction is open.
 */
export function lockDataDir(dir: string): DataDirLock {
  mkdirSync(dir, { recursive: true });
  const path = join(dir, LOCK_FILE);
  // SQLite would make the file too, but says only "unable to open" where the system says why.
  closeSync(openSync(path, 'a'));
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // Without this SQLite would leave a rollback file beside the lock after a kill.
    database.exec('PRAGMA journal_mode = MEMORY');
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    throw new Fault('data_dir_locked', { detail: `${dir} ${ownerOf(dir)}`, cause });
  }
  writeFileSync(join(dir, OWNER_FILE), `process ${process.pid} on ${hostname()} since ${new Date().toISOString()}\n`);
  return {
    release() {
      if (database.isOpen) database.close();
    },
  };
}

/** Who wrote last that it holds the lock: for a person to read, never to decide by. */
function ownerOf(dir: string): string {
  try {
    return `is held by ${readFileSync(join(dir, OWNER_FILE), 'utf8').trim()}`;
  } catch {
    return 'is held by a process that has not written its name yet';
  }
}
