import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { KEY_POLICY_VERSION, type KeyPolicy } from '#core/key-policy.ts';
import { type Log, SILENT } from '#core/log.ts';
import type { PolicyFeed } from './feed.ts';
import { followHttp } from './http-feed.ts';
import { type PolicyTable, policyTable } from './policy-table.ts';
import { snapshotFile } from './snapshot-file.ts';

const hash = (digit: string) => digit.repeat(64);

function policy(key: string, digit: string): KeyPolicy {
  return {
    version: KEY_POLICY_VERSION,
    key,
    customer: 'acme',
    secretHashes: [hash(digit)],
    state: 'active',
    expiresAtMs: null,
    models: ['gpt-*'],
    labels: {},
    limits: [],
  };
}

/** Billing as a list of answers; the last one is never given. */
function billing(...answers: (object | string | number)[]): { fetch: typeof fetch; asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    fetch: async (input, init) => {
      asked.push(String(input));
      const answer = answers.shift();
      if (answer === undefined) {
        return await new Promise((_, reject) => {
          init?.signal?.addEventListener('abort', () => reject(new Error('aborted')));
        });
      }
      if (typeof answer === 'number') {
        if (answer === 0) throw new TypeError('fetch failed');
        return new Response('<h1>no</h1>', { status: answer });
      }
      return new Response(typeof answer === 'string' ? answer : JSON.stringify(answer));
    },
  };
}

const feeds: PolicyFeed[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const feed of feeds.splice(0)) await feed.close();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

function follow(
  served: { fetch: typeof fetch },
  table: PolicyTable,
  more: { log?: Log; path?: string } = {},
): PolicyFeed {
  const feed = followHttp({
    url: 'http://billing',
    token: 'wr_api_gateway',
    table,
    log: more.log ?? SILENT,
    fetch: served.fetch,
    retryMs: { min: 1, max: 2 },
    ...(more.path ? { snapshot: snapshotFile(more.path) } : {}),
  });
  feeds.push(feed);
  return feed;
}

async function temporaryFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-policies-'));
  folders.push(folder);
  return join(folder, 'policies.json');
}

describe('followHttp', () => {
  it('takes everything first and changes then, and asks on from where it stands', async () => {
    const table = policyTable();
    const served = billing(
      { version: 'e.1', reset: true, policies: [policy('a', 'a'), policy('b', 'b')], removed: [] },
      { version: 'e.2', reset: false, policies: [policy('b', 'c')], removed: ['a'] },
    );
    await follow(served, table).ready;
    await vi.waitFor(() => expect(served.asked).toHaveLength(3));
    expect(served.asked.map((url) => new URL(url).search)).toEqual(['', '?after=e.1', '?after=e.2']);
    expect(['a', 'b', 'c'].map((digit) => table.find(hash(digit))?.key)).toEqual([undefined, undefined, 'b']);
  });

  it('keeps what it has while billing is away or answers rubbish, and catches up afterwards', async () => {
    const table = policyTable();
    const served = billing(
      { version: 'e.1', reset: true, policies: [policy('a', 'a')], removed: [] },
      0,
      503,
      'rubbish',
      { version: 'e.9', policies: [], removed: [] },
      { version: 'e.2', reset: false, policies: [policy('b', 'b')], removed: [] },
    );
    await follow(served, table).ready;
    await vi.waitFor(() => expect(table.find(hash('b'))).toBeDefined());
    expect(table.find(hash('a'))?.key).toBe('a');
    expect(new URL(served.asked[5] ?? '').search).toBe('?after=e.1');
  });

  it('ignores a policy of a newer version, keeps the old one, and says so', async () => {
    const table = policyTable();
    const said: string[] = [];
    const served = billing(
      { version: 'e.1', reset: true, policies: [policy('a', 'a')], removed: [] },
      { version: 'e.2', reset: false, policies: [{ ...policy('a', 'b'), version: 3, more: true }], removed: [] },
      { version: 'f.1', reset: true, policies: [{ ...policy('a', 'b'), version: 3 }, policy('c', 'c')], removed: [] },
    );
    const log = { ...SILENT, warn: (_: object, text: string) => said.push(text) };
    follow(served, table, { log });
    await vi.waitFor(() => expect(table.find(hash('c'))).toBeDefined());
    expect(table.find(hash('a'))?.key).toBe('a');
    expect(table.find(hash('b'))).toBeUndefined();
    expect(said).toHaveLength(2);
  });

  it('knows the keys of before when it starts while billing is away', async () => {
    const path = await temporaryFile();
    const before = billing({ version: 'e.7', reset: true, policies: [policy('a', 'a')], removed: [] });
    await follow(before, policyTable(), { path }).ready;
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const table = policyTable();
    const away = billing(0, 0, { version: 'e.8', reset: false, policies: [policy('b', 'b')], removed: [] });
    await follow(away, table, { path }).ready;
    expect(table.find(hash('a'))?.key).toBe('a');
    await vi.waitFor(() => expect(table.find(hash('b'))?.key).toBe('b'));
    expect(new URL(away.asked[0] ?? '').search).toBe('?after=e.7');
  });

  it('knows what is switched off, also when it starts while billing is away, until it is lifted', async () => {
    const path = await temporaryFile();
    const halt = { id: 'halt_1', customer: 'acme', key: null, upstream: null, model: null, cutOpen: true };
    const all = { version: 'e.7', reset: true, policies: [policy('a', 'a')], removed: [] };
    await follow(billing({ ...all, halts: [halt] }), policyTable(), { path }).ready;
    const table = policyTable();
    const heard: (readonly object[])[] = [];
    table.onChange({ policies: () => undefined, halts: (halts) => heard.push(halts) });
    const later = { version: 'e.8', reset: false, policies: [], removed: [] };
    // A halt that cannot be read lifts none of those that are known; nor does a billing that knows of no halts.
    const unread = { ...later, halts: [{ ...halt, id: 'halt_2', region: 'eu', cutOpen: 'yes' }] };
    const away = billing(0, later, unread, { ...later, version: 'e.9', halts: [] });
    await follow(away, table, { path }).ready;
    expect(table.halts()).toEqual([halt]);
    await vi.waitFor(() => expect(table.halts()).toEqual([]));
    expect(heard).toEqual([[halt], []]);
  });

  it('goes on without a snapshot that it cannot read, and without a place to write one', async () => {
    const path = await temporaryFile();
    for (const text of ['{"version":', '{"version":1}', '']) {
      await writeFile(path, text);
      const table = policyTable();
      const served = billing({ version: 'e.1', reset: true, policies: [policy('a', 'a')], removed: [] });
      await follow(served, table, { path }).ready;
      expect(table.find(hash('a'))?.key).toBe('a');
      expect(new URL(served.asked[0] ?? '').search).toBe('');
    }
    const table = policyTable();
    const served = billing({ version: 'e.1', reset: true, policies: [policy('a', 'a')], removed: [] });
    await follow(served, table, { path: join(path, 'not', 'a', 'folder') }).ready;
    expect(table.find(hash('a'))?.key).toBe('a');
  });
});
