import { DatabaseSync } from 'node:sqlite';
import { Fault } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import { type Claimed, LOOK_AGE_SHARE, LOOK_MS, type Stored, type StoredObject } from './stored.ts';
import { encodeCall, encodeClosing, encodeObject, parseCall, parseClosing, parseObject } from './stored-text.ts';

export interface SqliteStored extends Stored {
  /** What was open when the process before ended is due now: counters in memory do not know what it holds. */
  resume(): void;
  close(): void;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS object (
    customer TEXT NOT NULL, id TEXT NOT NULL, until_ms INTEGER NOT NULL, is_file INTEGER NOT NULL,
    text TEXT NOT NULL, PRIMARY KEY (customer, id)
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS object_until ON object (until_ms);
  CREATE INDEX IF NOT EXISTS object_file ON object (id) WHERE is_file;
  CREATE TABLE IF NOT EXISTS call (
    id TEXT PRIMARY KEY, customer TEXT NOT NULL, at_ms INTEGER NOT NULL, look_ms INTEGER NOT NULL,
    text TEXT NOT NULL, closing TEXT
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS call_look ON call (look_ms);
`;
/** Of a newer Weir: left alone. */
const SCHEMA_VERSION = 1;
/** Objects that nobody keeps any more are dropped a few at a time, when calls are looked for. */
const DROPPED_AT_ONCE = 500;

/** Owners of ordinary responses are written together: 5 us each instead of 40 (November 2026, 2 cores). */
const WRITE_MS = 20;
const WAITING_MAX = 500;

/**
 * One file in the data directory, for a gateway that is alone. Two connections to it: what is still to be billed is on
 * the disk when it was kept, while an owner may wait for the system to write (it survives the process, not a power cut;
 * each costs 0.04 ms instead of 0.35, November 2026, 2 cores), and that of an ordinary response for those that come with
 * it. Throws `data_dir_unusable`.
 */
export function sqliteStored(path: string, log: Log): SqliteStored {
  const { sure, quick } = openBoth(path);
  const keepObject = quick.prepare(
    'INSERT OR REPLACE INTO object (customer, id, until_ms, is_file, text) VALUES (?, ?, ?, ?, ?)',
  );
  const findObject = quick.prepare('SELECT text FROM object WHERE customer = ? AND id = ?');
  const findFile = quick.prepare('SELECT 1 FROM object WHERE id = ? AND is_file');
  const takeFile = quick.prepare(
    "DELETE FROM object WHERE id = ? AND is_file AND customer <> ? AND text ->> '$.upstream' = ?",
  );
  const dropObjects = quick.prepare(
    'DELETE FROM object WHERE (customer, id) IN (SELECT customer, id FROM object WHERE until_ms <= ? LIMIT ?)',
  );
  const waiting = new Map<string, StoredObject>();
  let writing: ReturnType<typeof setTimeout> | undefined;

  function write(object: StoredObject): void {
    const isFile = object.kind === 'file' ? 1 : 0;
    if (isFile) takeFile.run(object.id, object.customer, object.upstream);
    keepObject.run(object.customer, object.id, object.keptUntilMs, isFile, encodeObject(object));
  }

  function writeWaiting(): void {
    clearTimeout(writing);
    writing = undefined;
    try {
      quick.exec('BEGIN');
      for (const object of waiting.values()) write(object);
      quick.exec('COMMIT');
    } catch (error) {
      log.error({ err: error, responses: waiting.size }, 'Nobody will know whose these responses are.');
      if (quick.isTransaction) quick.exec('ROLLBACK');
    }
    waiting.clear();
  }

  const keepCall = sure.prepare(
    'INSERT OR IGNORE INTO call (id, customer, at_ms, look_ms, text) VALUES (?, ?, ?, ?, ?)',
  );
  const findCall = sure.prepare('SELECT text, closing FROM call WHERE id = ? AND customer = ?');
  const claimCalls = sure.prepare(`
    UPDATE call SET look_ms = :now + max(:least, min(:most, (:now - at_ms) / ${LOOK_AGE_SHARE}))
    WHERE id IN (SELECT id FROM call WHERE look_ms <= :now ORDER BY look_ms LIMIT :max)
    RETURNING text, closing`);
  const concludeCall = sure.prepare('UPDATE call SET closing = coalesce(closing, ?) WHERE id = ? RETURNING closing');
  const forgetCall = sure.prepare('DELETE FROM call WHERE id = ?');

  return {
    objects: {
      async keep(object) {
        if (object.kind !== 'response' || object.call !== null) return write(object);
        waiting.set(nameOf(object.customer, object.id), object);
        if (waiting.size >= WAITING_MAX) writeWaiting();
        else writing ??= setTimeout(writeWaiting, WRITE_MS);
      },
      async find(customer, id) {
        const soon = waiting.get(nameOf(customer, id));
        if (soon) return soon;
        const row = findObject.get(customer, id);
        return row ? parseObject(String(row.text)) : undefined;
      },
      async isFile(id) {
        return findFile.get(id) !== undefined;
      },
    },
    calls: {
      async keep(call) {
        keepCall.run(call.id, call.customer, call.atMs, call.atMs + LOOK_MS.min, encodeCall(call));
      },
      async find(customer, id) {
        const row = findCall.get(id, customer);
        return row && claimedOf(row);
      },
      async claim(nowMs, max) {
        dropObjects.run(nowMs, DROPPED_AT_ONCE);
        return claimCalls.all({ now: nowMs, least: LOOK_MS.min, most: LOOK_MS.max, max }).map(claimedOf);
      },
      async conclude(call, closing) {
        const row = concludeCall.get(encodeClosing(closing), call.id);
        return row && parseClosing(String(row.closing));
      },
      async forget(call) {
        forgetCall.run(call.id);
      },
    },
    resume: () => sure.exec('UPDATE call SET look_ms = 0'),
    close() {
      writeWaiting();
      quick.close();
      sure.close();
    },
  };
}

function nameOf(customer: string, id: string): string {
  return `${customer}\n${id}`;
}

function openBoth(path: string): { sure: DatabaseSync; quick: DatabaseSync } {
  try {
    const sure = new DatabaseSync(path);
    sure.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    const version = Number(sure.prepare('PRAGMA user_version').get()?.user_version);
    if (version > SCHEMA_VERSION) throw new Error(`it is of version ${version}, made by a newer Weir`);
    sure.exec(`${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}`);
    const quick = new DatabaseSync(path);
    quick.exec('PRAGMA synchronous = NORMAL');
    return { sure, quick };
  } catch (cause) {
    throw new Fault('data_dir_unusable', { story: `${path} cannot be opened`, cause });
  }
}

function claimedOf({ text, closing }: Record<string, unknown>): Claimed {
  return { call: parseCall(String(text)), closing: closing === null ? null : parseClosing(String(closing)) };
}
