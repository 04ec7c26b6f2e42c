import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { Fault } from '#core/fault.ts';
import { SILENT } from '#core/log.ts';
import { sampleCall, sampleObject, storedConformance } from '#test/conformance/stored.ts';
import { temporaryFolder } from '#test/support/journal.ts';
import { sampleClosing } from '#test/support/usage.ts';
import { copiedStored } from './copied-stored.ts';
import { type SqliteStored, sqliteStored } from './sqlite-node.ts';
import { LOOK_MS, type Stored } from './stored.ts';

function open(): SqliteStored {
  const stored = sqliteStored(join(temporaryFolder(), 'stored.db'), SILENT);
  onTestFinished(() => stored.close());
  return stored;
}

/** In place of what can be away. */
function awayStored(): Stored {
  const away = () => Promise.reject(new Fault('owners_unavailable'));
  return {
    objects: { keep: away, find: away, isFile: away },
    calls: { keep: away, find: away, claim: away, conclude: away, forget: away },
  };
}

const dir = mkdtempSync(join(tmpdir(), 'weir-test-'));
const shared = sqliteStored(join(dir, 'stored.db'), SILENT);
afterAll(() => {
  shared.close();
  rmSync(dir, { recursive: true });
});
storedConformance('a shared one with copies', () => copiedStored(shared, open(), () => undefined));

describe('a store with copies', () => {
  it('has what the shared one loses put there again, whole, and once', async () => {
    const own = open();
    const call = sampleCall('acme');
    const object = { ...sampleObject('acme'), id: call.object, call: call.id };
    const before = copiedStored(open(), own, () => undefined);
    await before.objects.keep(object);
    await before.calls.keep(call);

    const lost = open();
    const after = copiedStored(lost, own, () => undefined);
    const claimed = await after.calls.claim(call.atMs + LOOK_MS.min, 10);
    expect(claimed).toEqual([{ call, closing: null }]);
    expect(await lost.objects.find('acme', object.id)).toEqual(object);
    await after.calls.conclude(call, sampleClosing(call.id, 5n));
    await after.calls.forget(call);
    expect(await after.calls.claim(call.atMs + LOOK_MS.max * 10, 10)).toEqual([]);
  });

  it('has a call there again when it is looked for', async () => {
    const own = open();
    const call = sampleCall('acme');
    await copiedStored(open(), own, () => undefined).calls.keep(call);
    const lost = open();
    expect(await copiedStored(lost, own, () => undefined).calls.find('acme', call.id)).toEqual({ call, closing: null });
    expect(await lost.calls.find('acme', call.id)).toEqual({ call, closing: null });
  });

  it('concludes a call that the shared one has lost since it was claimed', async () => {
    const own = open();
    const call = sampleCall('acme');
    await copiedStored(open(), own, () => undefined).calls.keep(call);
    const closing = sampleClosing(call.id, 5n);
    const lost = open();
    expect(await copiedStored(lost, own, () => undefined).calls.conclude(call, closing)).toEqual(closing);
    expect(await lost.calls.find('acme', call.id)).toEqual({ call, closing });
    const settled: Stored = { ...open(), calls: { ...open().calls, find: async () => 'forgotten' } };
    expect(await copiedStored(settled, own, () => undefined).calls.conclude(call, closing)).toBeUndefined();
  });

  it('forgets its copy of what another gateway has settled', async () => {
    const own = open();
    const there = open();
    const call = sampleCall('acme');
    const forgotten: Stored = { ...there, calls: { ...there.calls, find: async () => 'forgotten' } };
    await copiedStored(there, own, () => undefined).calls.keep(call);
    await copiedStored(forgotten, own, () => undefined).calls.claim(call.atMs + LOOK_MS.min, 10);
    expect(await own.calls.find('acme', call.id)).toBeUndefined();
  });

  it('keeps what the shared one is away for, and has it there when it is back', async () => {
    const own = open();
    const failures: unknown[] = [];
    const without = copiedStored(awayStored(), own, (error) => failures.push(error));
    const call = sampleCall('acme');
    const file = { ...sampleObject('acme'), id: 'file-1', kind: 'file' } as const;
    await without.calls.keep(call);
    await without.objects.keep(file);
    expect(failures).toHaveLength(2);
    await expect(without.objects.find('acme', 'file-1')).rejects.toThrow(Fault);

    const back = open();
    const again = copiedStored(back, own, () => undefined);
    expect(await again.calls.claim(call.atMs + LOOK_MS.min, 10)).toEqual([{ call, closing: null }]);
    expect(await again.objects.find('acme', 'file-1')).toEqual(file);
    expect(await back.objects.find('acme', 'file-1')).toEqual(file);
  });
});
