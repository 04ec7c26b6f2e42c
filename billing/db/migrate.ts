import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { Fault } from '#core/fault.ts';
import { type Database, sql } from './database.ts';

export interface Migration {
  /** The file's name without `.sql`: a number of four digits, then words. */
  readonly name: string;
  readonly text: string;
  readonly checksum: string;
}

const MIGRATIONS_DIR = path.join(import.meta.dirname, 'migrations');
const FILE = /^\d{4}_[a-z0-9_]+\.sql$/;

/** Any number, the same in every Weir: only one process changes the schema of a database at a time. */
const LOCK = 0x77656972;

/** The migrations in their order. Two with one number are a mistake. */
export async function readMigrations(dir = MIGRATIONS_DIR): Promise<Migration[]> {
  const files = (await readdir(dir)).filter((file) => file.endsWith('.sql')).sort();
  const numbers = new Set<string>();
  const migrations: Migration[] = [];
  for (const file of files) {
    const number = file.slice(0, 4);
    if (!FILE.test(file)) throw new Error(`a migration is named 0001_words.sql, not ${file}`);
    if (numbers.has(number)) throw new Error(`two migrations have the number ${number}`);
    numbers.add(number);
    const text = (await readFile(path.join(dir, file), 'utf8')).replaceAll('\r\n', '\n');
    const checksum = createHash('sha256').update(text).digest('hex');
    migrations.push({ name: file.slice(0, -'.sql'.length), text, checksum });
  }
  return migrations;
}

/**
 * Brings the schema up to date and returns the names of what it applied. Up only; each migration is one transaction
 * with its record, so that a process that dies leaves whole steps; processes that start at once take turns.
 */
export async function migrate(db: Database, migrations?: readonly Migration[]): Promise<string[]> {
  const known = migrations ?? (await readMigrations());
  await db.transaction(async (tx) => {
    await lock(tx);
    await tx.script(`
      create table if not exists migration (
        name text primary key,
        checksum text not null,
        applied_at timestamptz not null default now()
      )`);
  });
  const applied: string[] = [];
  for (const migration of known) if (await apply(db, migration, known)) applied.push(migration.name);
  return applied;
}

async function apply(db: Database, migration: Migration, known: readonly Migration[]): Promise<boolean> {
  return await db.transaction(async (tx) => {
    await lock(tx);
    const done = await tx.query<{ name: string; checksum: string }>(sql`select name, checksum from migration`);
    assertSameHistory(done, known);
    if (done.some((row) => row.name === migration.name)) return false;
    const later = done.find((row) => row.name > migration.name);
    if (later) throw mismatch(`${migration.name} is new, but comes before ${later.name}, which is applied already`);
    await tx.script(migration.text);
    await tx.query(sql`insert into migration (name, checksum) values (${migration.name}, ${migration.checksum})`);
    return true;
  });
}

function assertSameHistory(done: readonly { name: string; checksum: string }[], known: readonly Migration[]): void {
  for (const { name, checksum } of done) {
    const migration = known.find((candidate) => candidate.name === name);
    if (!migration) throw mismatch(`the database has ${name}, which this version does not know; it is newer`);
    if (migration.checksum !== checksum) throw mismatch(`${name} was applied with other contents`);
  }
}

function mismatch(detail: string): Fault {
  return new Fault('schema_mismatch', { detail });
}

async function lock(tx: Database): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(${LOCK})`);
}
