import { describe, expect, it } from 'vitest';
import { DATABASE_KINDS, testDatabase } from '#test/support/database.ts';
import { sql } from './database.ts';
import { type Migration, migrate, readMigrations } from './migrate.ts';
import { postgresDatabase } from './postgres.ts';

const one: Migration = { name: '0001_one', text: 'create table one (n int); create table uno (n int)', checksum: 'a' };
const two: Migration = { name: '0002_two', text: 'create table two (n int)', checksum: 'b' };
const broken: Migration = { name: '0002_broken', text: 'create table half (n int); select 1 / 0', checksum: 'c' };

describe.each(DATABASE_KINDS)('migrate on %s', (kind) => {
  it('applies each migration once, in order, and only what is new', async () => {
    const { db, drop } = await testDatabase(kind, { migrated: false });
    expect(await migrate(db, [one])).toEqual(['0001_one']);
    expect(await migrate(db, [one, two])).toEqual(['0002_two']);
    expect(await migrate(db, [one, two])).toEqual([]);
    expect(await db.query(sql`select name, checksum from migration order by name`)).toEqual([
      { name: '0001_one', checksum: 'a' },
      { name: '0002_two', checksum: 'b' },
    ]);
    await drop();
  });

  it('leaves nothing of a migration that fails, and keeps those before it', async () => {
    const { db, drop } = await testDatabase(kind, { migrated: false });
    await expect(migrate(db, [one, broken])).rejects.toMatchObject({ code: '22012' });
    expect(await db.query(sql`select to_regclass('one') is not null one, to_regclass('half') is null half`)).toEqual([
      { one: true, half: true },
    ]);
    expect(await migrate(db, [one, two])).toEqual(['0002_two']);
    await drop();
  });

  it('refuses a database with another history than its own', async () => {
    const { db, drop } = await testDatabase(kind, { migrated: false });
    await migrate(db, [two]);
    await expect(migrate(db, [{ ...two, checksum: 'x' }])).rejects.toMatchObject({ code: 'schema_mismatch' });
    await expect(migrate(db, [one])).rejects.toThrow('does not know');
    await expect(migrate(db, [one, two])).rejects.toThrow('comes before');
    await drop();
  });

  it('applies the real migrations', async () => {
    const { db, drop } = await testDatabase(kind, { migrated: false });
    const migrations = await readMigrations();
    expect(await migrate(db)).toEqual(migrations.map((migration) => migration.name));
    await drop();
  });
});

it('applies each migration once when several processes start at once', async () => {
  const { url, drop } = await testDatabase('postgres', { migrated: false });
  if (!url) throw new Error('no url');
  const starters = Array.from({ length: 5 }, () => postgresDatabase({ url, connectionsMax: 1 }));
  const applied = await Promise.all(starters.map((db) => migrate(db, [one, two])));
  expect(applied.flat().sort()).toEqual(['0001_one', '0002_two']);
  await Promise.all(starters.map((db) => db.close()));
  await drop();
});
