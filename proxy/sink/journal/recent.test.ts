import { describe, expect, it } from 'vitest';
import { openTestJournal, temporaryFolder } from '#test/support/journal.ts';
import { closeCall, idsOf, openCall } from '#test/support/journal-calls.ts';
import type { Journal, JournalEntry } from './journal.ts';
import type { Cursor } from './load.ts';
import { RecentClosings } from './recent.ts';

const CALLS = 400;
const SEGMENTS = { segmentBytesMax: 32 * 1024 };

async function write(journal: Journal): Promise<void> {
  for (let i = 0; i < CALLS; ) {
    // Writes of different sizes.
    const ids = Array.from({ length: Math.min(1 + (i % 13), CALLS - i) }, () => `req_${i++}`);
    await Promise.all(ids.map((id) => openCall(journal, id)));
    await Promise.all(ids.map((id) => closeCall(journal, id)));
  }
}

async function readAll(journal: Journal, from: Cursor, count: number): Promise<JournalEntry[]> {
  const all: JournalEntry[] = [];
  for (let next = from; next.ordinal < CALLS; ) {
    const page = await journal.read(next, { count, bytes: 1_000_000_000 });
    expect(page.entries.length).toBeGreaterThan(0);
    expect(page.entries.length).toBeLessThanOrEqual(count);
    expect(page.next.ordinal - next.ordinal).toBe(page.entries.length);
    all.push(...page.entries);
    next = page.next;
  }
  return all;
}

describe('closings in memory', () => {
  it('are what stands on the disk, for any size of page, and places in both are the same', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir, SEGMENTS);
    await write(journal);
    const start = journal.cursor;
    const inMemory = await Promise.all([1, 7, 13, 50, CALLS].map((count) => readAll(journal, start, count)));
    const { next: middle } = await journal.read(start, { count: CALLS / 2, bytes: 1_000_000_000 });
    await journal.close();

    // Nothing is in memory now.
    const again = await openTestJournal(dir, SEGMENTS);
    const onDisk = await readAll(again, again.cursor, CALLS);
    expect(idsOf(onDisk)).toEqual(Array.from({ length: CALLS }, (_, i) => `req_${i}`));
    for (const entries of inMemory) expect(entries).toEqual(onDisk);
    expect(await readAll(again, middle, 9)).toEqual(onDisk.slice(middle.ordinal));
    await again.close();
  });

  it('are forgotten when they are shipped, and the oldest of them when they are too many', () => {
    const recent = new RecentClosings();
    const entry = { id: 'req', atMs: 0, event: 'x'.repeat(1024 * 1024), reservation: '', used: '' };
    const at = (ordinal: number): Cursor => ({ segment: 1, offset: ordinal, ordinal });
    const max = { count: 10, bytes: 1_000_000_000 };
    for (let ordinal = 1; ordinal <= 6; ordinal++) recent.add([entry], at(ordinal));
    expect(recent.read(at(1), max)).toBeUndefined();
    expect(recent.read(at(2), max)).toEqual({ entries: [entry, entry, entry, entry], next: at(6) });
    recent.shipped(at(5));
    expect(recent.read(at(4), max)).toBeUndefined();
    expect(recent.read(at(5), max)).toEqual({ entries: [entry], next: at(6) });
    recent.shipped(at(6));
    expect(recent.read(at(6), max)).toBeUndefined();
  });
});
