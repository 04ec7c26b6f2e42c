import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Database,
  findRow,
  getRow,
  instant,
  joinSql,
  json,
  prepared,
  sql,
  violates,
} from '#billing/db/database.ts';
import type { TestDatabase } from '../support/database.ts';

/** What every Database promises, whatever is behind it. */
export function databaseConformance(name: string, open: () => Promise<TestDatabase>): void {
  describe(`Database: ${name}`, () => {
    let test: TestDatabase;
    let db: Database;
    beforeAll(async () => {
      test = await open();
      db = test.db;
      await db.script(`
        create table thing (id text primary key, size int8 not null default 0);
        create table word (id text constraint word_unique unique)`);
    });
    afterAll(() => test.drop());

    it('gives each type as the same JavaScript value, without binary floats', async () => {
      const row = await getRow(
        db,
        sql`select 9007199254740993::int8 big, 7::int4 small, 0.000000000000000000037500::numeric quantity,
              timestamptz '2026-11-20 09:31:00.123+02' at_ms, date '2026-11-20' as day, true yes, 'é"\\'::text words,
              '{"a": [1, null]}'::jsonb doc, '\\x00ff'::bytea bytes, null::int8 nothing, 'infinity'::timestamptz never,
              array['a', null, 'NULL', 'b,"c', 'd\\', ''] list, array[1::int8, 2] bigs, array[1.50, 2]::numeric[] decimals,
              array[timestamptz 'epoch'] instants`,
      );
      expect(row).toEqual({
        big: 9007199254740993n,
        small: 7,
        quantity: '0.000000000000000000037500',
        at_ms: Date.parse('2026-11-20T07:31:00.123Z'),
        day: '2026-11-20',
        yes: true,
        words: 'é"\\',
        doc: { a: [1, null] },
        bytes: new Uint8Array([0, 255]),
        nothing: null,
        never: Number.POSITIVE_INFINITY,
        list: ['a', null, 'NULL', 'b,"c', 'd\\', ''],
        bigs: [1n, 2n],
        decimals: ['1.50', '2'],
        instants: [0],
      });
    });

    it('takes each type as a parameter and gives it back', async () => {
      const words = ['', 'a,b', '{}', '"', '\\', 'NULL', 'line\nbreak', 'é😀'];
      const row = await getRow(
        db,
        sql`select ${9007199254740993n}::int8 big, ${-7}::int4 small, ${'0.10'}::numeric quantity, ${false}::bool no,
              ${instant(1)}::timestamptz at_ms, ${json({ a: "it's" })}::jsonb doc, ${null}::text nothing,
              ${new Uint8Array([0, 255])}::bytea bytes, ${[...words, null]}::text[] list, ${[]}::text[] empty,
              ${[1n, 2n]}::int8[] bigs, ${[true, false]}::bool[] flags, ${[new Uint8Array([1, 92])]}::bytea[] hashes`,
      );
      expect(row).toEqual({
        big: 9007199254740993n,
        small: -7,
        quantity: '0.10',
        no: false,
        at_ms: 1,
        doc: { a: "it's" },
        nothing: null,
        bytes: new Uint8Array([0, 255]),
        list: [...words, null],
        empty: [],
        bigs: [1n, 2n],
        flags: [true, false],
        hashes: [new Uint8Array([1, 92])],
      });
    });

    it('refuses parameters whose type it would have to guess', async () => {
      for (const value of [undefined, { a: 1 }, new Date(0), 0.5, Number.NaN, [0.5]]) {
        await expect(db.query(sql`select ${value}::text`)).rejects.toThrow(TypeError);
      }
    });

    it('splices statements into statements with their parameters in order', async () => {
      const conditions = joinSql([sql`n > ${1}`, sql`n < ${4}`, sql`true`], ' and ');
      const rows = await db.query(sql`select n from generate_series(${0}::int, ${9}) n where ${conditions} limit ${5}`);
      expect(rows).toEqual([{ n: 2 }, { n: 3 }]);
    });

    it('runs a prepared statement again with other parameters', async () => {
      const plusOne = (n: number) => getRow<{ n: number }>(db, prepared('plus_one', sql`select ${n}::int4 + 1 as n`));
      expect([await plusOne(1), await plusOne(41)]).toEqual([{ n: 2 }, { n: 42 }]);
    });

    it('commits what a transaction did, and gives its result', async () => {
      const result = await db.transaction(async (tx) => {
        await tx.query(sql`insert into thing values ('kept', 1)`);
        await tx.transaction((inner) => inner.query(sql`insert into thing values ('joined', 2)`));
        return 'done';
      });
      expect(result).toBe('done');
      expect(await db.query(sql`select size from thing where id in ('kept', 'joined') order by id`)).toEqual([
        { size: 2n },
        { size: 1n },
      ]);
    });

    it('leaves nothing of a transaction that throws, the joined part included', async () => {
      const failure = new Error('no');
      const work = db.transaction(async (tx) => {
        await tx.query(sql`insert into thing values ('gone', 1)`);
        await tx.transaction((inner) => inner.query(sql`insert into thing values ('gone too', 1)`));
        throw failure;
      });
      await expect(work).rejects.toBe(failure);
      expect(await findRow(db, sql`select from thing where id like 'gone%'`)).toBeUndefined();
    });

    it('undoes a part that fails alone, and commits the rest', async () => {
      await db.transaction(async (tx) => {
        await tx.query(sql`insert into thing values ('before', 1)`);
        await tx.transaction((part) => part.query(sql`insert into thing values ('first part', 1)`));
        await expect(
          tx.transaction(async (part) => {
            await part.query(sql`insert into thing values ('second part', 1)`);
            await part.transaction((inner) => inner.query(sql`select 1 / 0`));
          }),
        ).rejects.toMatchObject({ code: '22012' });
        await tx.query(sql`insert into thing values ('after', 1)`);
      });
      const rows = await db.query(
        sql`select id from thing where id in ('before', 'after') or id like '% part' order by id`,
      );
      expect(rows).toEqual([{ id: 'after' }, { id: 'before' }, { id: 'first part' }]);
    });

    it('goes on after a statement that failed inside a transaction', async () => {
      await expect(db.transaction((tx) => tx.query(sql`select 1 / 0`))).rejects.toMatchObject({ code: '22012' });
      expect(await getRow(db, sql`select 1 as one`)).toEqual({ one: 1 });
    });

    it('says which constraint a statement violated', async () => {
      await db.query(sql`insert into word values ('once')`);
      const again = await db.query(sql`insert into word values ('once')`).catch((thrown: unknown) => thrown);
      expect(violates(again, 'word_unique')).toBe(true);
      expect(violates(again, 'another')).toBe(false);
      expect(violates(new Error('word_unique'), 'word_unique')).toBe(false);
    });

    it('loses no update of concurrent transactions', async () => {
      await db.query(sql`insert into thing values ('sum', 0)`);
      await Promise.all(
        Array.from({ length: 20 }, () =>
          db.transaction(async (tx) => {
            const row = await getRow<{ size: bigint }>(tx, sql`select size from thing where id = 'sum' for update`);
            await tx.query(sql`update thing set size = ${row.size + 1n} where id = 'sum'`);
          }),
        ),
      );
      expect(await findRow(db, sql`select size from thing where id = 'sum'`)).toEqual({ size: 20n });
    });

    it('runs a transaction again that Postgres chose as the victim', async () => {
      for (const state of ['40001', '40P01']) {
        let runs = 0;
        const result = await db.transaction(async (tx) => {
          runs++;
          if (runs < 3) await tx.script(`do $$ begin raise exception 'victim' using errcode = '${state}'; end $$`);
          return runs;
        });
        expect(result).toBe(3);
      }
    });

    it('gives up on a transaction that is the victim every time', async () => {
      const work = db.transaction((tx) =>
        tx.script(`do $$ begin raise exception 'victim' using errcode = '40001'; end $$`),
      );
      await expect(work).rejects.toMatchObject({ code: '40001' });
    });
  });
}
