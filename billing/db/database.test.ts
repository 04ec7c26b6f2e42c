import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { databaseConformance } from '#test/conformance/database.ts';
import { DATABASE_KINDS, testDatabase } from '#test/support/database.ts';
import { getRow, sql } from './database.ts';
import { postgresDatabase } from './postgres.ts';

for (const kind of DATABASE_KINDS) databaseConformance(kind, () => testDatabase(kind, { migrated: false }));

describe('postgresDatabase', () => {
  it('says database_unavailable when no server answers, and when what answers is none', async () => {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('no address');
    const db = postgresDatabase({ url: `postgres://x@127.0.0.1:${address.port}/x`, connectTimeoutMs: 2_000 });
    await expect(db.query(sql`select 1`)).rejects.toMatchObject({ code: 'database_unavailable' });
    await new Promise((resolve) => server.close(resolve));
    await expect(db.query(sql`select 1`)).rejects.toMatchObject({ code: 'database_unavailable' });
    await expect(db.transaction((tx) => tx.query(sql`select 1`))).rejects.toMatchObject({
      code: 'database_unavailable',
    });
    await db.close();
  });

  it('says database_unavailable in a transaction whose connection was ended, and works on afterwards', async () => {
    const test = await testDatabase('postgres', { migrated: false });
    const work = test.db.transaction(async (tx) => {
      const { pid } = await getRow<{ pid: number }>(tx, sql`select pg_backend_pid() as pid`);
      await test.db.query(sql`select pg_terminate_backend(${pid}, 5000)`);
      await tx.query(sql`select 1`);
    });
    await expect(work).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(await test.db.query(sql`select 1 as one`)).toEqual([{ one: 1 }]);
    await test.drop();
  });

  it('runs both of two transactions that lock each other out', async () => {
    const test = await testDatabase('postgres', { migrated: false });
    await test.db.script(
      `create table pair (id int primary key, n int not null); insert into pair values (1, 0), (2, 0)`,
    );
    let waiting = 0;
    let meet = () => {};
    const bothHoldOne = new Promise<void>((resolve) => {
      meet = resolve;
    });
    const cross = (first: number, second: number) =>
      test.db.transaction(async (tx) => {
        await tx.query(sql`update pair set n = n + 1 where id = ${first}`);
        waiting++;
        if (waiting === 2) meet();
        await bothHoldOne;
        await tx.query(sql`update pair set n = n + 1 where id = ${second}`);
      });
    await Promise.all([cross(1, 2), cross(2, 1)]);
    expect(waiting).toBe(3);
    expect(await test.db.query(sql`select n from pair order by id`)).toEqual([{ n: 2 }, { n: 2 }]);
    await test.drop();
  });
});

describe('pgliteDatabase', () => {
  it('refuses, rather than waits for ever, when a transaction uses the database around it', async () => {
    const test = await testDatabase('pglite', { migrated: false });
    await expect(test.db.transaction(() => test.db.query(sql`select 1`))).rejects.toThrow('inside a transaction');
    await expect(test.db.transaction(() => test.db.transaction(async () => 1))).rejects.toThrow('inside a transaction');
    expect(await test.db.query(sql`select 1 as one`)).toEqual([{ one: 1 }]);
    await test.drop();
  });
});
