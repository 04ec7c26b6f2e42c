/**
 * The port to Postgres: node-postgres and PGlite behind the same four methods, with the same types going in and out
 * (types.ts). `int8` comes out as bigint, `numeric` as decimal text, `timestamptz` as epoch ms, `json` parsed, `bytea`
 * as Uint8Array. One request or one job is one transaction.
 */
export interface Database {
  /** Runs one statement. Rows as plain objects. */
  query<Row extends object = Record<string, unknown>>(statement: Sql): Promise<Row[]>;
  /** Runs a script of several statements without parameters (migrations). */
  script(text: string): Promise<void>;
  /**
   * All or nothing, at READ COMMITTED. Run again from the start on serialization failure and deadlock, so `work` does
   * nothing that a second run would repeat outside the database. Inside it, `transaction` is a savepoint: a part that
   * can fail alone, one part at a time.
   * When the server goes away during the commit, `database_unavailable` leaves open whether it happened.
   */
  transaction<T>(work: (tx: Database) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** One statement: text with `$n`, its parameters, and a name where it is worth preparing once per connection. */
export class Sql {
  readonly text: string;
  readonly values: readonly unknown[];
  readonly name: string | undefined;

  constructor(text: string, values: readonly unknown[], name?: string) {
    this.text = text;
    this.values = values;
    this.name = name;
  }
}

/** A statement with its parameters: sql`select … where id = ${id}`. Every `${}` is a parameter, or another Sql spliced in. */
export function sql(strings: TemplateStringsArray, ...values: readonly unknown[]): Sql {
  let text = strings[0] as string;
  const parameters: unknown[] = [];
  values.forEach((value, i) => {
    if (value instanceof Sql) {
      const offset = parameters.length;
      text += value.text.replace(/\$(\d+)/g, (_, n) => `$${Number.parseInt(n, 10) + offset}`);
      parameters.push(...value.values);
    } else {
      parameters.push(value);
      text += `$${parameters.length}`;
    }
    text += strings[i + 1];
  });
  return new Sql(text, parameters);
}

/** Several pieces with text between them: joinSql(conditions, ' and '). The separator is trusted text. */
export function joinSql(parts: readonly Sql[], separator: string): Sql {
  return parts.reduce(
    (left, right, i) => (i === 0 ? right : sql`${left}${new Sql(separator, [])}${right}`),
    new Sql('', []),
  );
}

/** Parsed and planned once per connection under this name: for hot statements whose text is always the same. */
export function prepared(name: string, statement: Sql): Sql {
  return new Sql(statement.text, statement.values, name);
}

/** A value for a `json` or `jsonb` parameter. */
export function json(value: unknown): string {
  return JSON.stringify(value);
}

/** An instant for a `timestamptz` parameter. */
export function instant(atMs: number): string {
  return new Date(atMs).toISOString();
}

/** The first row, where at most one is expected. */
export async function findRow<Row extends object>(db: Database, statement: Sql): Promise<Row | undefined> {
  return (await db.query<Row>(statement))[0];
}

/** The only row of a statement that always gives one. */
export async function getRow<Row extends object>(db: Database, statement: Sql): Promise<Row> {
  const row = await findRow<Row>(db, statement);
  if (!row) throw new Error(`no row from: ${statement.text.slice(0, 200)}`);
  return row;
}

/** The SQLSTATE of a failed statement; undefined for any other failure. */
export function sqlStateOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' && /^[0-9A-Z]{5}$/.test(thrown.code) ? thrown.code : undefined;
}

/** True when a statement failed on this constraint or unique index. */
export function violates(thrown: unknown, constraint: string): boolean {
  return (
    sqlStateOf(thrown)?.startsWith('23') === true &&
    typeof thrown === 'object' &&
    thrown !== null &&
    'constraint' in thrown &&
    thrown.constraint === constraint
  );
}
