import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { getSource, type Product, run, type Source } from './products.ts';
import { type Owner, startContainer, startLocal, type TestServer } from './server.ts';

export const POSTGRES: Product = {
  name: 'PostgreSQL',
  variable: 'DATABASE_URL',
  commands: ['initdb', 'postgres'],
  folders: [
    '/usr/lib/postgresql/*/bin',
    '/usr/pgsql-*/bin',
    '/usr/libexec/postgresql*',
    '/usr/local/pgsql/bin',
    '/usr/local/bin',
    '/opt/homebrew/opt/postgresql@*/bin',
    '/usr/local/opt/postgresql@*/bin',
  ],
  aptPackage: 'postgresql',
  dockerImage: 'postgres:17',
};

export interface PostgresOptions {
  /** Keeps every commit through a kill of the machine, at a price in time. A kill of the process loses nothing either way. */
  durable?: boolean;
  /** Further settings, as `name=value`. */
  settings?: readonly string[];
}

const USER = 'weir';
const url = (port: number) => `postgres://${USER}@127.0.0.1:${port}/postgres`;

/** A PostgreSQL of one's own. */
export async function startPostgres(options: PostgresOptions = {}, source?: Source): Promise<TestServer> {
  const from = source ?? (await getSource(POSTGRES));
  const unsafe = options.durable ? [] : ['fsync=off', 'full_page_writes=off'];
  const settings = ['max_connections=200', 'timezone=UTC', ...unsafe, ...(options.settings ?? [])];
  const args = settings.flatMap((setting) => ['-c', setting]);
  if (from.kind === 'docker') {
    return startContainer({
      name: 'postgres',
      image: from.image,
      containerPort: 5432,
      options: [
        '--env',
        `POSTGRES_USER=${USER}`,
        '--env',
        'POSTGRES_DB=postgres',
        '--env',
        'POSTGRES_HOST_AUTH_METHOD=trust',
      ],
      args,
      url,
      answers,
    });
  }
  const owner = await findOwner();
  return startLocal({
    name: 'postgres',
    url,
    owner,
    prepare: async (folder) => {
      const flags = ['--auth=trust', '--no-locale', '--encoding=UTF8', '--no-sync', `--username=${USER}`];
      await run(join(from.folder, 'initdb'), [...flags, `--pgdata=${join(folder, 'data')}`], { cwd: folder, ...owner });
    },
    command: (folder, port) => [
      join(from.folder, 'postgres'),
      ...['-D', join(folder, 'data'), '-h', '127.0.0.1', '-p', String(port), '-k', ''],
      ...args,
    ],
    // Immediate shutdown: the data is not wanted any more.
    stopSignal: 'SIGQUIT',
    answers,
  });
}

/** PostgreSQL refuses to run as root: then it is run as the user that packages make for it, or as nobody. */
async function findOwner(): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  if (!user) throw new Error('PostgreSQL does not run as root, and there is no user postgres or nobody to run it as.');
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

/** True when a PostgreSQL takes statements there. */
export async function answers(at: string): Promise<boolean> {
  const client = new Client({ connectionString: at, connectionTimeoutMillis: 5_000 });
  // A server that goes away during the check is an answer (no), not an uncaught error.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The shared PostgreSQL of this test run. */
export function databaseUrl(): string {
  const shared = process.env.DATABASE_URL;
  if (!shared) throw new Error('DATABASE_URL is not set: test/servers/global-setup.ts sets it');
  return shared;
}

export interface TestDatabase {
  readonly url: string;
  readonly name: string;
  /** Ends every connection to it and removes it. */
  drop(): Promise<void>;
}

/** A fresh, empty database of one's own: in the shared server, or in another one. */
export async function createTestDatabase(server = databaseUrl()): Promise<TestDatabase> {
  const name = `weir_test_${randomUUID().replaceAll('-', '')}`;
  await statement(server, `create database ${name}`);
  const at = new URL(server);
  at.pathname = `/${name}`;
  return { url: at.href, name, drop: () => statement(server, `drop database if exists ${name} with (force)`) };
}

async function statement(server: string, text: string): Promise<void> {
  const client = new Client({ connectionString: server });
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
