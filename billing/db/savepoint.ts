import type { Database } from './database.ts';

/** A transaction inside a transaction: when it throws, what it did is undone, and the one around it can go on. */
export async function savepoint<T>(tx: Database, work: (tx: Database) => Promise<T>): Promise<T> {
  // Postgres stacks savepoints of one name: the latest is meant.
  await tx.script('savepoint part');
  try {
    const result = await work(tx);
    await tx.script('release savepoint part');
    return result;
  } catch (thrown) {
    // When the connection is gone there is nothing to undo, and the first failure is the one to tell.
    await tx.script('rollback to savepoint part; release savepoint part').catch(() => {});
    throw thrown;
  }
}
