import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Config } from './config.ts';
import { checkConfig, loadConfig } from './file.ts';
import { type ConfigWatch, watchConfig } from './watch.ts';

let folder = '';
let file = '';
let watching: ConfigWatch | undefined;
let configs: Config[] = [];
let restarts: string[] = [];
let faults: Error[] = [];

async function start(path = file): Promise<void> {
  watching = await watchConfig({
    file: path,
    env: {},
    config: await loadConfig(path, {}),
    onConfig(config, restart) {
      configs.push(config);
      restarts = [...restart];
    },
    onFault: (fault) => faults.push(fault),
    debounceMs: 10,
  });
}

function withCalls(callsMax: number): string {
  return `gateway: { calls_max: ${callsMax} }\n`;
}

async function sees(check: () => void): Promise<void> {
  await vi.waitFor(check, { timeout: 5_000, interval: 5 });
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-watch-'));
  file = join(folder, 'weir.yaml');
  await writeFile(file, withCalls(1));
  configs = [];
  restarts = [];
  faults = [];
});

afterEach(async () => {
  watching?.close();
  watching = undefined;
  await rm(folder, { recursive: true });
});

describe('a configuration file that is watched', () => {
  it('is in force again when it is written', async () => {
    await start();
    await writeFile(file, withCalls(2));
    await sees(() => expect(configs.at(-1)?.gateway.callsMax).toBe(2));
    expect(restarts).toEqual([]);
    expect(faults).toEqual([]);
  });

  it('is followed through an editor that writes another file and renames it', async () => {
    await start();
    for (const callsMax of [2, 3]) {
      await writeFile(`${file}.swp`, withCalls(callsMax));
      await rename(file, `${file}~`);
      await rename(`${file}.swp`, file);
      await sees(() => expect(configs.at(-1)?.gateway.callsMax).toBe(callsMax));
    }
  });

  it('is followed through a link that is turned, as in a Kubernetes volume', async () => {
    await mkdir(join(folder, 'v1'));
    await mkdir(join(folder, 'v2'));
    await writeFile(join(folder, 'v1', 'linked.yaml'), withCalls(1));
    await writeFile(join(folder, 'v2', 'linked.yaml'), withCalls(2));
    await symlink('v1', join(folder, 'data'));
    await symlink(join('data', 'linked.yaml'), join(folder, 'linked.yaml'));
    await start(join(folder, 'linked.yaml'));
    await symlink('v2', join(folder, 'data-new'));
    await rename(join(folder, 'data-new'), join(folder, 'data'));
    await sees(() => expect(configs.at(-1)?.gateway.callsMax).toBe(2));
  });

  it('leaves the old one in force when the new one is wrong, and says all that is wrong', async () => {
    await start();
    await writeFile(file, 'gateway: { calls_max: many, prt: 1 }\n');
    await sees(() => expect(faults).toHaveLength(1));
    expect(configs).toEqual([]);
    expect(faults[0]?.message).toContain(`${file}:1:23 gateway.calls_max: must be a whole number`);
    expect(faults[0]?.message).toContain(`${file}:1:29 gateway.prt: is no field`);
    await writeFile(file, withCalls(3));
    await sees(() => expect(configs.map((config) => config.gateway.callsMax)).toEqual([3]));
  });

  it('is not told again when it means the same', async () => {
    await start();
    await writeFile(file, `# the same\n${withCalls(1)}`);
    await watching?.reload();
    await writeFile(file, withCalls(2));
    await sees(() => expect(configs.map((config) => config.gateway.callsMax)).toEqual([2]));
  });

  it('is read again on SIGHUP', async () => {
    await start();
    await rm(file);
    await sees(() => expect(faults.length).toBeGreaterThan(0));
    expect(faults[0]?.message).toContain('cannot be read');
    const before = faults.length;
    process.emit('SIGHUP');
    await sees(() => expect(faults.length).toBeGreaterThan(before));
    expect(configs).toEqual([]);
  });

  it('names the settings that wait for the next start', async () => {
    await start();
    await writeFile(
      file,
      'gateway: { port: 9999, calls_max: 2, journal: { fsync: always } }\nbilling: { port: 9998 }\n',
    );
    await sees(() => expect(configs).toHaveLength(1));
    expect(restarts).toEqual(['gateway.port', 'gateway.journal', 'billing.port']);
  });

  it('is left alone after the watch is closed', async () => {
    await start();
    watching?.close();
    await writeFile(file, withCalls(2));
    await watching?.reload();
    expect(configs).toEqual([]);
    expect(process.listenerCount('SIGHUP')).toBe(0);
  });
});

describe('a file that is checked', () => {
  it('gives a line for each mistake, and none when it is right', async () => {
    expect(await checkConfig(file, {})).toEqual([]);
    await writeFile(file, 'gateway: { port: 70000 }\nplans: { p: { fee: lots } }\n');
    expect(await checkConfig(file, {})).toEqual([
      `${file}:1:18 gateway.port: must be a whole number from 0 to 65535, not "70000"`,
      `${file}:2:20 plans.p.fee: must be an amount such as 3, 0.0025 or 49.00 USD, not "lots"`,
    ]);
  });

  it('that is not there is a Fault that says so', async () => {
    await expect(loadConfig(join(folder, 'none.yaml'), {})).rejects.toMatchObject({ code: 'config_invalid' });
  });
});
