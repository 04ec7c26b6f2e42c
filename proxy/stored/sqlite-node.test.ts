import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { SILENT } from '#core/log.ts';
import { sampleObject, storedConformance } from '#test/conformance/stored.ts';
import { temporaryFolder } from '#test/support/journal.ts';
import { type SqliteStored, sqliteStored } from './sqlite-node.ts';

const dir = mkdtempSync(join(tmpdir(), 'weir-test-'));
const opened: SqliteStored[] = [];
afterAll(() => {
  for (const stored of opened) stored.close();
  rmSync(dir, { recursive: true });
});

storedConformance('SQLite', () => {
  const stored = sqliteStored(join(dir, 'stored.db'), SILENT);
  opened.push(stored);
  return stored;
});

it('finds again after a restart what was kept, and forgets what nobody keeps any more', async () => {
  const path = join(temporaryFolder(), 'stored.db');
  const before = sqliteStored(path, SILENT);
  const own = sampleObject('acme');
  await before.objects.keep(own);
  const ordinary = { ...own, id: 'resp_ordinary', call: null };
  await before.objects.keep(ordinary);
  before.close();
  const after = sqliteStored(path, SILENT);
  expect(await after.objects.find('acme', own.id)).toEqual(own);
  expect(await after.objects.find('acme', ordinary.id)).toEqual(ordinary);
  await after.calls.claim(own.keptUntilMs, 1);
  expect(await after.objects.find('acme', own.id)).toBeUndefined();
  after.close();
});

it('says what is wrong with a file that it cannot open', () => {
  expect(() => sqliteStored('/nowhere/stored.db', SILENT)).toThrow(
    expect.objectContaining({ code: 'data_dir_unusable' }),
  );
});
