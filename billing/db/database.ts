/**
 * The port to Postgres: node-postgres and PGlite behind the same four methods. `numeric` and `int8` come out as bigint
 * where they are whole by declaration (`int8`) and as decimal text where they are `numeric`; `timestamptz` as epoch ms.
 * One request or one job is one transaction.
 */
export interface Database {
  /** Runs one statement. Rows as plain objects. */
  query<Row extends object = Record<string, unknown>>(statement: Sql): Promise<Row[]>;
  /** Runs a script of several statements without parameters (migrations). */
  script(text: string): Promise<void>;
  /** All or nothing; retried on serialization failure and deadlock. Inside it, `transaction` joins. */
  transaction<T>(work: (tx: Database) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export interface Sql {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** A statement with its parameters: sql`select … where id = ${id}`. Every `${}` is a parameter, or another Sql spliced in. */
export function sql(strings: TemplateStringsArray, ...values: readonly unknown[]): Sql {
  let text = strings[0] as string;
  const parameters: unknown[] = [];
  values.forEach((value, i) => {
    if (isSql(value)) {
      text += value.text.replace(/\$(\d+)/g, (_, n) => `$${Number.parseInt(n, 10) + parameters.length}`);
      parameters.push(...value.values);
    } else {
      parameters.push(value);
      text += `$${parameters.length}`;
    }
    text += strings[i + 1];
  });
  return { text, values: parameters };
}

function isSql(value: unknown): value is Sql {
  return typeof value === 'object' && value !== null && 'text' in value && 'values' in value;
}
