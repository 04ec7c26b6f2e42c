import { AsyncLocalStorage } from 'node:async_hooks';
import { PGlite, type Transaction } from '@electric-sql/pglite';
import { Fault } from '#core/fault.ts';
import type { Database, Sql } from './database.ts';
import { retryTransaction } from './retry.ts';
import { savepoint } from './savepoint.ts';
import { encodeParameter, PARSERS } from './types.ts';

/** The embedded Postgres, with the instance itself for libraries that bring their own statements (pg-boss). */
export interface PgliteDatabase extends Database {
  readonly pglite: PGlite;
}

const BYTEA = 17;
/** Ours on each statement rather than on the instance: others who use it expect PGlite's own types. */
const OPTIONS = { parsers: PARSERS, serializers: { [BYTEA]: (text: string) => text } };

/**
 * Postgres inside this process: one connection, so transactions run one after the other (PGlite queues them). Data in
 * a directory that is made when it is absent, or in memory without one. It computes on the thread that calls it.
 */
export async function pgliteDatabase(options: { dataDir?: string } = {}): Promise<PgliteDatabase> {
  const pglite = await PGlite.create({ dataDir: options.dataDir ?? 'memory://' }).catch(cannotOpen);
  await pglite.exec("set time zone 'UTC'");
  const current = new AsyncLocalStorage<{ open: boolean }>();
  // It would wait for the transaction that waits for it, for ever (and with a pool of connections, sometimes).
  const assertOutside = () => {
    if (current.getStore()?.open) throw new Error('inside a transaction, use the transaction and not its database');
  };
  const runTransaction = async <T>(work: (tx: Database) => Promise<T>): Promise<T> => {
    const state = { open: true };
    try {
      return await current.run(state, () => pglite.transaction((transaction) => work(on(transaction))));
    } finally {
      state.open = false;
    }
  };
  return {
    pglite,
    query: async (statement) => {
      assertOutside();
      return await query(pglite, statement);
    },
    script: async (text) => {
      assertOutside();
      await pglite.exec(text);
    },
    transaction: async (work) => {
      assertOutside();
      return await retryTransaction(() => runTransaction(work));
    },
    close: () => pglite.close(),
  };
}

/** It throws what its file system or its WASM threw, which tells an operator nothing. */
function cannotOpen(thrown: unknown): never {
  const detail = 'The embedded database in it cannot be opened: its files are damaged, or not to be read or written.';
  const story = thrown instanceof Error ? thrown.message : JSON.stringify(thrown);
  throw new Fault('data_dir_unusable', { detail, story, cause: thrown });
}

/** The Database inside a transaction. */
function on(transaction: Transaction): Database {
  const tx: Database = {
    query: (statement) => query(transaction, statement),
    script: async (text) => {
      await transaction.exec(text);
    },
    transaction: (work) => savepoint(tx, work),
    close: () => Promise.reject(new Error('a transaction cannot close its database')),
  };
  return tx;
}

async function query<Row extends object>(target: PGlite | Transaction, statement: Sql): Promise<Row[]> {
  const result = await target.query<Row>(statement.text, statement.values.map(encodeParameter), OPTIONS);
  return result.rows;
}
