import type { Database } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { pgliteDatabase } from '#billing/db/pglite.ts';
import { postgresDatabase } from '#billing/db/postgres.ts';
import { createTestDatabase } from '#test/servers/postgres.ts';

export interface TestDatabase {
  db: Database;
  /** Undefined for PGlite, which only this process can reach. */
  url: string | undefined;
  /** Closes it and leaves nothing behind. */
  drop(): Promise<void>;
}

export const DATABASE_KINDS = ['postgres', 'pglite'] as const;
export type DatabaseKind = (typeof DATABASE_KINDS)[number];

/** A database of this test's own, migrated unless told otherwise. */
export async function testDatabase(kind: DatabaseKind, options: { migrated?: boolean } = {}): Promise<TestDatabase> {
  const test = kind === 'postgres' ? await testPostgres() : await testPglite();
  if (options.migrated !== false) await migrate(test.db);
  return test;
}

async function testPglite(): Promise<TestDatabase> {
  const db = await pgliteDatabase();
  return { db, url: undefined, drop: () => db.close() };
}

async function testPostgres(): Promise<TestDatabase> {
  const { url, drop } = await createTestDatabase();
  const db = postgresDatabase({ url });
  return {
    db,
    url,
    drop: async () => {
      await db.close();
      await drop();
    },
  };
}
