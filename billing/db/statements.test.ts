import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase } from '#test/servers/postgres.ts';
import { type Database, type Sql, sqlStateOf } from './database.ts';
import { migrate } from './migrate.ts';
import { type PgliteDatabase, pgliteDatabase } from './pglite.ts';
import { postgresDatabase } from './postgres.ts';
import { PARSERS } from './types.ts';

/**
 * Every statement of every store.ts, parsed and planned by the real Postgres on the real schema. The statements are
 * found by calling what the stores export with arguments that are anything, on a database that only writes down.
 */
const BILLING = path.dirname(import.meta.dirname);
const VOID = 2278;
const FLOATS = new Set([700, 701, 1021, 1022]);
const CALLS_MAX = 50;

interface Found {
  place: string;
  statements: Sql[];
  scripts: number;
}

/** Stands for any argument: every field and result of it is anything again, as a list it has two of them (a pair, too), and as a primitive it is 0. */
function anything(): unknown {
  return new Proxy(function any() {}, {
    get: (_, name) => {
      if (name === 'then') return undefined;
      if (name === Symbol.toPrimitive) return () => 0;
      if (name === Symbol.iterator) return () => [anything(), anything()][Symbol.iterator]();
      return anything();
    },
    apply: () => anything(),
  });
}

function recorder(found: Found): Database {
  let calls = 0;
  const count = () => {
    calls++;
    if (calls > CALLS_MAX) throw new Error('this store function does not end');
  };
  const db: Database = {
    query: async <Row extends object>(statement: Sql): Promise<Row[]> => {
      count();
      found.statements.push(statement);
      return [anything() as Row];
    },
    script: async () => {
      count();
      found.scripts++;
    },
    transaction: (work) => work(db),
    close: async () => undefined,
  };
  return db;
}

/** With everything given, and with nothing: a condition that is left out is a statement of its own. */
const ARGUMENTS = [Array.from({ length: 6 }, anything), Array.from({ length: 6 }, () => ({})), []];

async function findStatements(file: string): Promise<Found[]> {
  const module: object = await import(pathToFileURL(file).href);
  const found: Found[] = [];
  for (const [name, value] of Object.entries(module)) {
    if (typeof value !== 'function' || !/\bsql`|\.script\(/.test(String(value))) continue;
    const of: Found = { place: `${path.relative(BILLING, file)} ${name}`, statements: [], scripts: 0 };
    for (const given of ARGUMENTS) {
      // Some break on what they were given, after or instead of their statement; what was written down is what counts.
      await Promise.resolve()
        .then(() => value(recorder(of), ...given))
        .catch(() => undefined);
    }
    found.push(of);
  }
  return found;
}

describe('the statements of the stores', () => {
  const found: Found[] = [];
  let drop: () => Promise<void>;
  let postgres: Database;
  let pglite: PgliteDatabase;

  beforeAll(async () => {
    const files = (await readdir(BILLING, { recursive: true })).filter((file) =>
      /(^|\/)store\.ts$|^db\/lock\.ts$/.test(file),
    );
    for (const file of files.sort()) found.push(...(await findStatements(path.join(BILLING, file))));
    const created = await createTestDatabase();
    drop = created.drop;
    postgres = postgresDatabase({ url: created.url });
    pglite = await pgliteDatabase();
    await migrate(postgres);
    await migrate(pglite);
  });
  afterAll(async () => {
    await postgres.close();
    await pglite.close();
    await drop();
  });

  const each = () =>
    found.flatMap(({ place, statements }) => {
      const texts = new Set(statements.map((statement) => statement.text));
      return [...texts].map((text) => ({ place, text }));
    });

  it('are all found', () => {
    expect(found.length).toBeGreaterThan(30);
    expect(
      found.filter(({ statements, scripts }) => statements.length + scripts === 0).map(({ place }) => place),
    ).toEqual([]);
  });

  it('are understood by Postgres on the migrated schema', async () => {
    const refused: string[] = [];
    for (const { place, text } of each()) {
      await postgres
        .transaction((tx) => tx.script(`prepare checked as ${text}; deallocate checked`))
        .catch((thrown: unknown) => refused.push(`${place}: ${thrown} (${sqlStateOf(thrown)})\n${text}`));
    }
    expect(refused).toEqual([]);
  });

  it('take and give only types that cross without loss', async () => {
    const odd: string[] = [];
    for (const { place, text } of each()) {
      const { queryParams, resultFields } = await pglite.pglite.describeQuery(text);
      queryParams.forEach(({ dataTypeID }, i) => {
        if (FLOATS.has(dataTypeID)) odd.push(`${place}: $${i + 1} is a binary float`);
      });
      for (const { name, dataTypeID } of resultFields) {
        if (!(dataTypeID in PARSERS) && dataTypeID !== VOID) odd.push(`${place}: ${name} is of type ${dataTypeID}`);
      }
    }
    expect(odd).toEqual([]);
  });

  it('have one text for each name that they are prepared under', () => {
    const texts = new Map<string, Set<string>>();
    for (const { name, text } of found.flatMap(({ statements }) => statements)) {
      if (name) texts.set(name, (texts.get(name) ?? new Set()).add(text));
    }
    expect([...texts].filter(([, several]) => several.size > 1)).toEqual([]);
  });
});
