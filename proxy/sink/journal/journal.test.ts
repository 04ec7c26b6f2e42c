import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { SILENT } from '#core/log.ts';
import { openTestJournal, temporaryFolder } from '#test/support/journal.ts';
import {
  closeCall,
  closeSettled,
  closeUnsettled,
  eventOf,
  idsOf,
  openCall,
  shipAll,
  unsettled,
  unshipped,
} from '#test/support/journal-calls.ts';
import { CLOSING_BYTES, readClosings } from './journal.ts';

const segmentsOf = (dir: string) => readdirSync(dir).filter((name) => name.startsWith('journal-'));

describe('a journal', () => {
  it('writes everything that waits in one go: records of a group share one promise', async () => {
    const journal = await openTestJournal(temporaryFolder(), { fsync: 'always' });
    const first = openCall(journal, 'req_1');
    expect(openCall(journal, 'req_2')).toBe(first);
    await first;
    const closing = closeCall(journal, 'req_1');
    expect(closeCall(journal, 'req_2')).toBe(closing);
    await closing;
    expect(idsOf(await unshipped(journal))).toEqual(['req_1', 'req_2']);
    await journal.close();
  });

  it('gives back after a restart what was opened and what was closed, in order, as it was', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir);
    await Promise.all(['req_1', 'req_2', 'req_3', 'req_4', 'req_5', 'req_6'].map((id) => openCall(journal, id)));
    await closeCall(journal, 'req_3', 33n);
    await closeCall(journal, 'req_1', 11n);
    await journal.abandoned('req_4');
    await closeUnsettled(journal, 'req_5', 55n);
    await closeSettled(journal, 'req_6', 66n);
    await journal.close();

    const again = await openTestJournal(dir);
    expect(again.cut).toBeUndefined();
    expect(idsOf(await again.live())).toEqual(['req_2']);
    const closings = await unshipped(again);
    expect(idsOf(closings)).toEqual(['req_3', 'req_1', 'req_5', 'req_6']);
    expect(closings.map((entry) => eventOf(entry).data.quantities.output_tokens)).toEqual(['33', '11', '55', '66']);
    expect(again.unshipped).toBe(4);
    expect(idsOf(await unsettled(again))).toEqual(['req_5']);
    await again.close();
  });

  it('counts only the first closing of a call', async () => {
    const journal = await openTestJournal(temporaryFolder());
    await openCall(journal, 'req_1');
    await Promise.all([closeCall(journal, 'req_1', 1n), closeCall(journal, 'req_1', 2n)]);
    await closeCall(journal, 'req_1', 3n);
    await journal.abandoned('req_1');
    const closings = await unshipped(journal);
    expect(closings.map((entry) => eventOf(entry).data.quantities.output_tokens)).toEqual(['1']);
    await journal.close();
  });

  it('goes on after a restart from the place up to which it was shipped', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir);
    for (const id of ['req_1', 'req_2', 'req_3']) {
      await openCall(journal, id);
      await closeCall(journal, id);
    }
    const page = await readClosings(journal.range(journal.cursor, { count: 2, bytes: 1_000_000 }));
    expect(idsOf(page.entries)).toEqual(['req_1', 'req_2']);
    await journal.shipped(page.next);
    await journal.close();

    const again = await openTestJournal(dir);
    expect(again.backlog.count).toBe(1);
    expect(idsOf(await shipAll(again))).toEqual(['req_3']);
    expect(again.backlog).toEqual({ count: 0, bytes: 0 });
    await again.close();
  });

  it('reads in pages across segments, bounded by number and by bytes', async () => {
    const journal = await openTestJournal(temporaryFolder(), { segmentBytesMax: 8 * 1024 });
    const ids = Array.from({ length: 60 }, (_, i) => `req_${i}`);
    for (const id of ids) {
      await openCall(journal, id);
      await closeCall(journal, id);
    }
    const seen: string[] = [];
    let page = await readClosings(journal.range(journal.cursor, { count: 7, bytes: 1_000_000 }));
    while (page.entries.length > 0) {
      expect(page.entries.length).toBeLessThanOrEqual(7);
      seen.push(...idsOf(page.entries));
      page = await readClosings(journal.range(page.next, { count: 7, bytes: 1_000_000 }));
    }
    expect(seen).toEqual(ids);
    const one = await readClosings(journal.range(journal.cursor, { count: 7, bytes: 1 }));
    expect(one.entries).toHaveLength(1);
    await journal.close();
  });

  it('remembers over restarts which closings were settled since, and keeps all of them until they are shipped', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir, { segmentBytesMax: 8 * 1024 });
    journal.unsettled.watch(() => undefined);
    const ids = Array.from({ length: 30 }, (_, i) => `req_${i}`);
    for (const [i, id] of ids.entries()) {
      await openCall(journal, id);
      await (i % 3 === 0 ? closeUnsettled(journal, id) : closeSettled(journal, id));
    }
    const wanted = ids.filter((_, i) => i % 3 === 0);
    expect(idsOf(await unsettled(journal))).toEqual(wanted);
    const { cursor } = journal.unsettled;
    const page = await readClosings(journal.unsettled.range(cursor, { count: 4, bytes: 1_000_000 }));
    expect(idsOf(page.entries)).toEqual(wanted.slice(0, 4));
    await journal.unsettled.shipped(page.next);
    await journal.close();

    const again = await openTestJournal(dir);
    expect(idsOf(await unsettled(again))).toEqual(wanted.slice(4));
    expect(again.unsettled.unshipped).toBe(6);
    expect(idsOf(await unshipped(again))).toEqual(ids);
    await again.close();
  });

  it('lets go of what its store has too when it is half full, and refuses no call for it', async () => {
    const dir = temporaryFolder();
    const said = vi.fn();
    const log = { ...SILENT, error: said };
    const bytesMax = 256 * 1024;
    const journal = await openTestJournal(dir, { segmentBytesMax: 16 * 1024, bytesMax }, log);
    journal.unsettled.watch(() => undefined);
    for (let i = 0; i < 500; i++) {
      await openCall(journal, `req_${i}`);
      await (i % 10 === 0 ? closeUnsettled(journal, `req_${i}`) : closeSettled(journal, `req_${i}`));
      // What its store was away for is there too as soon as it has been settled.
      const { unsettled: course } = journal;
      if (i % 20 === 0)
        await course.shipped((await readClosings(course.range(course.cursor, { count: 100, bytes: 1_000_000 }))).next);
    }
    expect(said).toHaveBeenCalled();
    expect(journal.fault).toBeUndefined();
    await vi.waitFor(() => expect(journal.bytes).toBeLessThan(bytesMax * 0.75));
    const kept = idsOf(await unshipped(journal));
    expect(kept.at(-1)).toBe('req_499');
    expect(kept.length).toBeGreaterThan(20);
    expect(journal.unshipped).toBe(kept.length);
    await journal.close();
    const again = await openTestJournal(dir);
    expect(idsOf(await unshipped(again))).toEqual(kept);
    await again.close();
  });

  it.each([
    ['only here', closeCall],
    ['to be settled', closeUnsettled],
  ])('never lets go of what is %s', async (_, close) => {
    const journal = await openTestJournal(temporaryFolder(), { segmentBytesMax: 16 * 1024, bytesMax: 256 * 1024 });
    const ids: string[] = [];
    journal.unsettled.watch(() => undefined);
    for (let i = 0; journal.fault === undefined; i++) {
      const opened = await openCall(journal, `req_${i}`).then(
        () => true,
        () => false,
      );
      if (!opened) break;
      ids.push(`req_${i}`);
      await (i % 10 === 0 ? close(journal, `req_${i}`) : closeSettled(journal, `req_${i}`));
    }
    expect(journal.fault?.code).toBe('journal_unavailable');
    expect(idsOf(await unshipped(journal))).toEqual(ids);
    await journal.close();
  });

  it('deletes segments when all of their calls are closed and shipped, and not before', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir, { segmentBytesMax: 8 * 1024 });
    const call = async (id: string) => {
      await openCall(journal, id);
      await closeCall(journal, id);
    };
    for (let i = 0; i < 40; i++) await call(`req_${i}`);
    const before = segmentsOf(dir).length;
    expect(before).toBeGreaterThan(5);

    await openCall(journal, 'req_long');
    await shipAll(journal);
    await vi.waitFor(() => expect(segmentsOf(dir).length).toBeLessThan(3));
    for (let i = 0; i < 40; i++) await call(`req_more_${i}`);
    await shipAll(journal);
    // The long call's opening holds its segment and all after it.
    expect(segmentsOf(dir).length).toBeGreaterThan(5);
    await closeCall(journal, 'req_long');
    await shipAll(journal);
    await vi.waitFor(() => expect(segmentsOf(dir).length).toBeLessThan(3));
    const left = segmentsOf(dir).map((name) => statSync(join(dir, name)).size);
    expect(journal.bytes).toBe(left.reduce((a, b) => a + b, 0));
    await journal.close();
  });

  it('carries the openings of long calls forward when room gets short, and they survive a restart', async () => {
    const dir = temporaryFolder();
    const settings = { segmentBytesMax: 8 * 1024, bytesMax: 128 * 1024 };
    const journal = await openTestJournal(dir, settings);
    await openCall(journal, 'req_long');
    for (let i = 0; i < 300; i++) {
      await openCall(journal, `req_${i}`);
      await closeCall(journal, `req_${i}`);
      await shipAll(journal);
    }
    expect(journal.bytes).toBeLessThan(128 * 1024);
    expect(segmentsOf(dir)).not.toContain('journal-000000000001.log');
    await journal.close();

    const again = await openTestJournal(dir, settings);
    const [opening] = await again.live();
    expect(opening).toMatchObject({ id: 'req_long' });
    await closeCall(again, 'req_long', 99n);
    expect(idsOf(await shipAll(again))).toEqual(['req_long']);
    expect(await again.live()).toEqual([]);
    await again.close();
  });

  it('refuses openings when it is full, takes every closing all the same, and opens again when shipped', async () => {
    const error = vi.fn();
    const log = { ...SILENT, error };
    const bytesMax = 256 * 1024;
    const journal = await openTestJournal(temporaryFolder(), { bytesMax, segmentBytesMax: 16 * 1024 }, log);
    const open: string[] = [];
    let refused: unknown;
    for (let i = 0; refused === undefined; i++) {
      await openCall(journal, `req_${i}`).then(
        () => open.push(`req_${i}`),
        (fault: unknown) => {
          refused = fault;
        },
      );
    }
    expect(refused).toMatchObject({ code: 'journal_unavailable' });
    expect(error).toHaveBeenCalledOnce();
    expect(journal.bytes + open.length * CLOSING_BYTES).toBeLessThanOrEqual(bytesMax);
    await Promise.all(open.map((id) => closeCall(journal, id)));
    expect(journal.bytes).toBeLessThanOrEqual(bytesMax);

    expect(idsOf(await shipAll(journal))).toEqual(open);
    await vi.waitFor(() => expect(journal.bytes).toBeLessThan(bytesMax / 4));
    await openCall(journal, 'req_again');
    expect(journal.fault).toBeUndefined();
    await journal.close();
  });

  it('makes the opening durable before it answers when fsync is always, soon after when it is interval', async () => {
    for (const fsync of ['always', 'interval'] as const) {
      const dir = temporaryFolder();
      const journal = await openTestJournal(dir, { fsync });
      await openCall(journal, 'req_1');
      const [name = ''] = segmentsOf(dir);
      expect(readFileSync(join(dir, name), 'utf8')).toContain('\tO\treq_1\t');
      await journal.close();
    }
  });

  it('has room for the closings of all calls of a group before it takes their openings', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir);
    await openCall(journal, 'req_0');
    await Promise.all(Array.from({ length: 600 }, (_, i) => openCall(journal, `req_${i + 1}`)));
    expect(statSync(join(dir, 'ballast')).size).toBeGreaterThanOrEqual(601 * CLOSING_BYTES);
    await journal.close();
  });

  it('refuses openings where memory is short, and goes on', async () => {
    const journal = await openTestJournal(temporaryFolder());
    await openCall(journal, 'req_1');
    vi.spyOn(Buffer, 'allocUnsafeSlow').mockImplementationOnce(() => {
      throw new RangeError('Array buffer allocation failed');
    });
    const large = Promise.all(Array.from({ length: 100 }, (_, i) => openCall(journal, `req_large_${i}`)));
    await expect(large).rejects.toMatchObject({ code: 'journal_unavailable' });
    await closeCall(journal, 'req_1');
    expect(idsOf(await unshipped(journal))).toEqual(['req_1']);
    await journal.close();
  });

  it('refuses openings once it is closed, and leaves its directory to the next', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir);
    await expect(openTestJournal(dir)).rejects.toMatchObject({ code: 'data_dir_locked' });
    const last = openCall(journal, 'req_1');
    await journal.close();
    await last;
    await expect(openCall(journal, 'req_2')).rejects.toMatchObject({ code: 'journal_unavailable' });
    const next = await openTestJournal(dir);
    expect(next.liveCount).toBe(1);
    await next.close();
  });
});
