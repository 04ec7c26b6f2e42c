import type { Database } from '#billing/db/database.ts';

/**
 * A Database that calls a hook before each statement and after each commit, numbered from 1 in the order of a run. A
 * hook that throws is a failure at that step: of a statement, or of a commit whose answer was lost on its way.
 */
export function interceptedDatabase(db: Database, hook: (step: number, what: string) => Promise<void>): Database {
  let step = 0;
  const wrap = (inner: Database, isTransaction: boolean): Database => ({
    query: async (statement) => {
      await hook(++step, statement.text);
      return inner.query(statement);
    },
    script: async (text) => {
      await hook(++step, text);
      return inner.script(text);
    },
    transaction: async (work) => {
      const result = await inner.transaction((tx) => work(wrap(tx, true)));
      if (!isTransaction) await hook(++step, 'commit');
      return result;
    },
    close: () => inner.close(),
  });
  return wrap(db, false);
}

/** Runs work against a database that fails at each of its steps in turn, until a run meets no failure. Gives the steps. */
export async function atEachStep(
  run: (fail: (db: Database) => Database, step: number) => Promise<void>,
): Promise<number> {
  for (let failing = 1; ; failing++) {
    let met = false;
    const fail = (db: Database) =>
      interceptedDatabase(db, async (step, what) => {
        if (step !== failing) return;
        met = true;
        throw new Error(`a failure at step ${step}: ${what.trim().slice(0, 60)}`);
      });
    await run(fail, failing);
    if (!met) return failing - 1;
  }
}
