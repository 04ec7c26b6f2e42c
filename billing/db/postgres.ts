import pg from 'pg';
import { Fault } from '#core/fault.ts';
import { type Database, type Sql, sqlStateOf } from './database.ts';
import { retryTransaction } from './retry.ts';
import { savepoint } from './savepoint.ts';
import { encodeParameter, PARSERS } from './types.ts';

export interface PostgresOptions {
  url: string;
  connectionsMax?: number;
  /** How long to wait for the server, or for a free connection. */
  connectTimeoutMs?: number;
}

/** Answers of a server that is there but cannot serve: class 08, shutting down, starting, out of connections. */
const UNAVAILABLE_STATES = new Set(['57P01', '57P02', '57P03', '53300']);
const UNAVAILABLE_ERRNOS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT', // the socket file of a server that is down
]);
/** node-postgres has no codes for these. */
const UNAVAILABLE_MESSAGES =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

const DURABLE_COMMITS = `select set_config('synchronous_commit', 'on', false)
  where current_setting('synchronous_commit') = 'off'`;

/** Postgres over a pool of connections. */
export function postgresDatabase(options: PostgresOptions): Database {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.connectionsMax ?? 10,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    keepAlive: true,
    application_name: 'weir',
    // A session that stands still inside a transaction holds locks that others wait for.
    idle_in_transaction_session_timeout: 60_000,
    // Just-in-time compilation took 790 ms of the 800 that a usage page took: our statements are many and short.
    options: '-c TimeZone=UTC -c DateStyle=ISO -c jit=off',
    // What we acknowledge is on disk, whatever the server's default is: senders delete an event once we have taken it.
    onConnect: async (client) => {
      await client.query(DURABLE_COMMITS);
    },
    types: { getTypeParser: (oid: number) => PARSERS[oid] ?? ((text: string) => text) },
  });
  // A connection that breaks while idle has left the pool already; whoever asks next gets a new one or the fault.
  pool.on('error', () => {});

  const connect = async (): Promise<pg.PoolClient> => {
    try {
      return await pool.connect();
    } catch (thrown) {
      throw asFault(thrown);
    }
  };

  const runTransaction = async <T>(work: (tx: Database) => Promise<T>): Promise<T> => {
    const client = await connect();
    let broken = false;
    // Between two statements a lost connection is an event, not a rejected promise; the next statement fails on it.
    const onError = () => {
      broken = true;
    };
    client.on('error', onError);
    try {
      await run(client, 'begin');
      const result = await work(on(client));
      await run(client, 'commit');
      return result;
    } catch (thrown) {
      await client.query('rollback').catch(() => {
        broken = true;
      });
      throw thrown;
    } finally {
      client.off('error', onError);
      client.release(broken);
    }
  };

  return {
    query: (statement) => query(pool, statement),
    script: (text) => run(pool, text),
    transaction: (work) => retryTransaction(() => runTransaction(work)),
    close: () => pool.end(),
  };
}

/** The Database inside a transaction. */
function on(client: pg.PoolClient): Database {
  const tx: Database = {
    query: (statement) => query(client, statement),
    script: (text) => run(client, text),
    transaction: (work) => savepoint(tx, work),
    close: () => Promise.reject(new Error('a transaction cannot close its database')),
  };
  return tx;
}

async function query<Row extends object>(target: pg.Pool | pg.PoolClient, statement: Sql): Promise<Row[]> {
  const config = { text: statement.text, values: statement.values.map(encodeParameter) };
  try {
    const result = await target.query<Row>(statement.name ? { ...config, name: statement.name } : config);
    return result.rows;
  } catch (thrown) {
    throw asFault(thrown);
  }
}

async function run(target: pg.Pool | pg.PoolClient, text: string): Promise<void> {
  try {
    await target.query(text);
  } catch (thrown) {
    throw asFault(thrown);
  }
}

/** A server that cannot be reached is a Fault; a statement that it refuses stays what it is, SQLSTATE and all. */
function asFault(thrown: unknown): unknown {
  return isUnavailable(thrown) ? new Fault('database_unavailable', { cause: thrown }) : thrown;
}

function isUnavailable(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  const state = sqlStateOf(thrown);
  if (state !== undefined && (state.startsWith('08') || UNAVAILABLE_STATES.has(state))) return true;
  if ('code' in thrown && UNAVAILABLE_ERRNOS.has(String(thrown.code))) return true;
  if (thrown instanceof AggregateError) return thrown.errors.some(isUnavailable);
  return UNAVAILABLE_MESSAGES.test(thrown.message);
}
