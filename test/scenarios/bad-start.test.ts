import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createTestDatabase, databaseUrl, startPostgres } from '../servers/postgres.ts';
import { freePort } from '../servers/server.ts';
import { temporaryFolder } from '../support/journal.ts';
import { runWeir, type SpawnedWeir, spawnWeir, startWeir } from '../support/weir-process.ts';
import { FIVE_MISTAKES } from './five-mistakes.ts';

/** What an operator gets wrong is told in one line, the process ends with 1, and nobody is shown a stack. */
describe('a start that cannot be', { timeout: 60_000 }, () => {
  let folder: string;
  let environment: Record<string, string>;
  let gatewayPort: number;
  let billingPort: number;
  let started: { kill(): Promise<void> }[] = [];

  beforeEach(async () => {
    folder = temporaryFolder();
    [gatewayPort, billingPort] = await Promise.all([freePort(), freePort()]);
    const config = path.join(folder, 'weir.yaml');
    await writeFile(config, configText(gatewayPort, billingPort));
    environment = {
      WEIR_CONFIG: config,
      WEIR_DATA_DIR: path.join(folder, 'data'),
      WEIR_ADMIN_TOKEN: 'wr_api_bad_start_token',
    };
  });

  afterEach(async () => {
    await Promise.all(started.map((process) => process.kill()));
    started = [];
  });

  /** The line that a command ends with, after it ended with 1. */
  async function lineOf(args: readonly string[], changes: Record<string, string> = {}): Promise<string> {
    const { code, output } = await runWeir(args, { ...environment, ...changes });
    expect(output).not.toMatch(/^ {4}at /m);
    const lines = output.split('\n').filter((line) => line.startsWith('weir: '));
    expect({ code, lines: lines.length, output }).toEqual({ code: 1, lines: 1, output });
    return lines[0] as string;
  }

  function spawned(args: readonly string[], changes: Record<string, string> = {}): SpawnedWeir {
    const weir = spawnWeir(args, { ...environment, ...changes });
    started.push(weir);
    return weir;
  }

  async function hold(port: number): Promise<void> {
    const server = createServer();
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.close();
    });
    expect((server.address() as AddressInfo).port).toBe(port);
  }

  it('names the address that another process holds', async () => {
    await hold(gatewayPort);
    const inUse = (port: number) =>
      `weir: Weir cannot listen at its address. listen EADDRINUSE: address already in use 127.0.0.1:${port}.`;
    expect(await lineOf(['gateway'])).toBe(inUse(gatewayPort));
    expect(await lineOf(['serve'])).toBe(inUse(gatewayPort));
    await hold(billingPort);
    expect(await lineOf(['billing'])).toBe(inUse(billingPort));
    expect(await lineOf(['serve'])).toBe(inUse(billingPort));
  });

  it('names the file of the data directory that it cannot use', async () => {
    const file = path.join(folder, 'file');
    await writeFile(file, '');
    const cannot = 'weir: The data directory cannot be used.';
    expect(await lineOf(['gateway'], { WEIR_DATA_DIR: file })).toContain(`${cannot} EEXIST`);
    expect(await lineOf(['gateway'], { WEIR_DATA_DIR: path.join(file, 'below') })).toContain(`${cannot} ENOTDIR`);
    const data = path.join(folder, 'other');
    await mkdir(data);
    await writeFile(path.join(data, 'journal'), '');
    expect(await lineOf(['gateway'], { WEIR_DATA_DIR: data })).toContain(`${cannot} EEXIST`);
    await mkdir(path.join(data, 'billing', 'pglite'), { recursive: true });
    await writeFile(path.join(data, 'billing', 'pglite', 'PG_VERSION'), 'rubbish');
    expect(await lineOf(['billing'], { WEIR_DATA_DIR: data })).toContain(`${cannot} The embedded database in it`);
    expect(await lineOf(['serve'], { WEIR_DATA_DIR: data })).toContain(`${cannot} The embedded database in it`);
  });

  it.each([
    { role: 'gateway', others: ['gateway'] },
    { role: 'billing', others: ['billing', 'serve'] },
    { role: 'serve', others: ['gateway', 'billing'] },
  ] as const)('is refused beside a $role that has the data directory', async ({ role, others }) => {
    const holder = await startWeir(role, environment);
    started.push(holder);
    for (const other of others) {
      const line = await lineOf([other]);
      expect(line).toContain('weir: Another process uses this data directory.');
      expect(line).toContain(`is held by process ${holder.pid} on `);
    }
    expect(await holder.terminate()).toBe(0);
  });

  it('says which address of a server is none, and does not repeat it', async () => {
    const line = await lineOf(['billing'], { DATABASE_URL: 'weir:geheim@db/weir', REDIS_URL: 'localhost' });
    expect(line).toContain('DATABASE_URL must have the form');
    expect(line).toContain('REDIS_URL must have the form');
    expect(line).not.toContain('geheim');
    const out = await lineOf(['jobs'], { DATABASE_URL: 'postgres://u:geheim@db:99999/weir' });
    expect(out).toContain('DATABASE_URL must have the form');
    expect(out).not.toContain('geheim');
    expect(await lineOf(['jobs'])).toContain('weir jobs wants DATABASE_URL');
  });

  it.each(['billing', 'serve', 'jobs', 'migrate'])('of %s ends at once where the database refuses it', async (role) => {
    const none = new URL(databaseUrl());
    none.pathname = '/no_such_database';
    const startedAt = Date.now();
    const line = await lineOf([role], { DATABASE_URL: none.href });
    expect(line).toBe('weir: The database is there and refuses Weir. database "no_such_database" does not exist.');
    // Not after the thirty seconds that a database which comes up is waited for.
    expect(Date.now() - startedAt).toBeLessThan(25_000);
  });

  it('waits for a database that comes up, and ends there on a signal', async () => {
    const server = await startPostgres();
    onTestFinished(() => server.stop());
    const database = await createTestDatabase(server.url);
    await server.kill('SIGQUIT');
    const changes = { DATABASE_URL: database.url };
    const waiting = [spawned(['billing'], changes), spawned(['serve'], changes)];
    for (const weir of waiting) await weir.said(/waiting for the database/);
    expect(await waiting[1]?.terminate()).toBe(0);
    await server.restart();
    await waiting[0]?.said(/^billing listens on /m);
    // Said once, not at every try.
    expect(waiting[0]?.output().match(/waiting for the database/g)?.length).toBeLessThanOrEqual(3);
    expect(await waiting[0]?.terminate()).toBe(0);
  });

  it('lists five mistakes of a configuration with their lines, as `weir check` does', async () => {
    const file = environment.WEIR_CONFIG as string;
    await writeFile(file, FIVE_MISTAKES);
    const checked = await runWeir(['check', file], environment);
    const lines = checked.output.trim().split('\n');
    expect({ code: checked.code, last: lines.at(-1), count: lines.length }).toEqual({
      code: 1,
      last: '5 mistakes.',
      count: 6,
    });
    for (const role of ['gateway', 'billing', 'serve']) {
      const { code, output } = await runWeir([role], environment);
      expect(code).toBe(1);
      for (const line of lines.slice(0, -1)) expect(output).toContain(line);
      expect(output).not.toMatch(/^ {4}at /m);
    }
    await writeFile(file, configText(gatewayPort, billingPort));
    expect(await runWeir(['check', file], environment)).toEqual({ code: 0, output: `${file} is right.\n` });
  });

  it('says that there is no configuration, or no command', async () => {
    const gone = path.join(folder, 'none.yaml');
    expect(await lineOf(['gateway'], { WEIR_CONFIG: gone })).toContain(`${gone} cannot be read: ENOENT`);
    expect(await lineOf(['gateway'], { WEIR_CONFIG: folder })).toContain(`${folder} cannot be read: EISDIR`);
    for (const args of [[], ['serv'], ['serve', '--port'], ['check'], ['key']]) {
      const { code, output } = await runWeir(args, environment);
      expect(code).toBe(2);
      expect(output).toMatch(/^weir: .+\n\nUsage: weir COMMAND/);
    }
  });
});

function configText(gatewayPort: number, billingPort: number): string {
  return `
gateway: { host: 127.0.0.1, port: ${gatewayPort} }
billing: { host: 127.0.0.1, port: ${billingPort}, url: "http://127.0.0.1:${billingPort}" }
telemetry: { log_level: warn }
upstreams:
  stub: { wire: openai, provider: openai, base_url: "http://127.0.0.1:9/v1" }
`;
}
