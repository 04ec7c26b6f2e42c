import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { expect, it, vi } from 'vitest';
import { temporaryFolder } from '#test/support/journal.ts';
import { Appender } from './appender.ts';
import { segmentPath } from './segment.ts';

const HEADER = Buffer.from('header\n');
const RECORD = Buffer.from('record\n');

async function begun(syncEach = false): Promise<{ appender: Appender; text: () => string }> {
  const dir = temporaryFolder();
  const appender = new Appender(dir, 0, syncEach);
  await appender.begin(HEADER);
  return { appender, text: () => readFileSync(segmentPath(dir, 1), 'utf8') };
}

it('writes at once, behind what was written before', async () => {
  const { appender, text } = await begun();
  expect(appender.writeNow(RECORD)).toBe(true);
  expect(text()).toBe('header\nrecord\n');
  await appender.write(RECORD);
  expect(appender.writeNow(RECORD)).toBe(true);
  expect(text()).toBe('header\nrecord\nrecord\nrecord\n');
  expect(appender.bytes).toBe(text().length);
  await appender.close();
});

it('leaves the thread alone where each write waits for the disk, while the disk is waited for, and before there is a file', async () => {
  const { appender: synced } = await begun(true);
  expect(synced.writeNow(RECORD)).toBe(false);
  await synced.close();

  const { appender } = await begun();
  appender.writeNow(RECORD);
  const syncing = appender.sync();
  expect(appender.writeNow(RECORD)).toBe(false);
  await syncing;
  expect(appender.writeNow(RECORD)).toBe(true);
  await appender.close();

  expect(new Appender(temporaryFolder(), 0, false).writeNow(RECORD)).toBe(false);
});

it('leaves it alone for a second after a write that took long', async () => {
  const { appender, text } = await begun();
  let nowMs = 1_000;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  clock.mockImplementationOnce(() => nowMs).mockImplementationOnce(() => nowMs + 6);
  expect(appender.writeNow(RECORD)).toBe(true);
  nowMs = 2_005;
  expect(appender.writeNow(RECORD)).toBe(false);
  await appender.write(RECORD);
  nowMs = 2_006;
  expect(appender.writeNow(RECORD)).toBe(true);
  expect(text()).toBe('header\nrecord\nrecord\nrecord\n');
  clock.mockRestore();
  await appender.close();
});

it('leaves it alone as long after one that took longer than that', async () => {
  const { appender } = await begun();
  let nowMs = 1_000;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  clock.mockImplementationOnce(() => nowMs).mockImplementationOnce(() => (nowMs += 3_000));
  expect(appender.writeNow(RECORD)).toBe(true);
  expect(appender.writeNow(RECORD)).toBe(false);
  clock.mockRestore();
  await appender.close();
});

it('says that all is durable only when it is, also where somebody else waits for that already', async () => {
  const { appender } = await begun();
  appender.writeNow(RECORD);
  const order: string[] = [];
  const first = appender.sync().then(() => order.push('first'));
  const second = appender.sync().then(() => order.push('second'));
  await Promise.all([first, second]);
  expect(order).toEqual(['first', 'second']);
  await appender.close();
});
