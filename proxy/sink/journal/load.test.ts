import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openTestJournal, temporaryFolder } from '#test/support/journal.ts';
import { closeCall, idsOf, openCall, unshipped } from '#test/support/journal-calls.ts';
import { loadJournal } from './load.ts';
import { bodyOf, JOURNAL_VERSION, RecordEncoder } from './record.ts';
import { segmentPath } from './segment.ts';

/** A journal of one segment with three calls: one closed, two open; the last record is the opening of the third. */
async function written(): Promise<{ dir: string; path: string; bytes: Buffer; starts: number[] }> {
  const dir = temporaryFolder();
  const journal = await openTestJournal(dir);
  await openCall(journal, 'req_1');
  await closeCall(journal, 'req_1');
  await openCall(journal, 'req_2');
  await openCall(journal, 'req_3');
  await journal.close();
  const path = segmentPath(dir, 1);
  const bytes = readFileSync(path);
  const starts = [0];
  for (let at = bytes.indexOf(10); at < bytes.length - 1; at = bytes.indexOf(10, at + 1)) starts.push(at + 1);
  return { dir, path, bytes, starts };
}

describe('loading a journal', () => {
  it('cuts a torn end off at whatever byte of the last record the crash came', async () => {
    const { dir, path, bytes, starts } = await written();
    const last = starts.at(-1) ?? 0;
    expect(starts).toHaveLength(5);
    for (let end = last; end < bytes.length; end++) {
      writeFileSync(path, bytes.subarray(0, end));
      const loaded = await loadJournal(dir);
      expect([...loaded.live.keys()], `cut at ${end}`).toEqual(['req_2']);
      expect(loaded.cut).toEqual(end === last ? undefined : { path, offset: last, bytes: end - last });
      expect(statSync(path).size).toBe(last);
    }
  });

  it('cuts off a tail of zeros or rubbish, as a power loss may leave it', async () => {
    const { dir, path, bytes, starts } = await written();
    for (const tail of [
      Buffer.alloc(5000),
      Buffer.from('deadbeef\tO\treq_9\tnot what the sum says\n\n\n'),
      Buffer.from('\n'),
    ]) {
      writeFileSync(path, Buffer.concat([bytes, tail]));
      const loaded = await loadJournal(dir);
      expect(loaded.cut).toEqual({ path, offset: bytes.length, bytes: tail.length });
      expect(loaded.live.size).toBe(2);
    }
    expect(starts).toHaveLength(5);
  });

  it('writes on behind a torn end without losing what was whole', async () => {
    const { dir, path, bytes } = await written();
    writeFileSync(path, bytes.subarray(0, bytes.length - 3));
    const journal = await openTestJournal(dir);
    expect(journal.cut).toMatchObject({ path });
    await closeCall(journal, 'req_2', 5n);
    await journal.close();
    const again = await openTestJournal(dir);
    expect(idsOf(await unshipped(again))).toEqual(['req_1', 'req_2']);
    expect(again.liveCount).toBe(0);
    await again.close();
  });

  it('says where a broken record is, at every byte of it, when sound ones follow', async () => {
    const { dir, path, bytes, starts } = await written();
    const [, , from = 0, to = 0] = starts;
    for (let at = from; at < to; at++) {
      const broken = Buffer.from(bytes);
      broken[at] = (broken[at] ?? 0) ^ 0x01;
      writeFileSync(path, broken);
      await expect(loadJournal(dir), `byte ${at}`).rejects.toMatchObject({
        code: 'journal_corrupt',
        detail: expect.stringContaining(`${path} at byte ${from}`),
      });
    }
    expect(readFileSync(path)).toHaveLength(bytes.length);
  });

  it('takes no newline for granted: the record behind a broken one is found without it', async () => {
    const { dir, path, bytes, starts } = await written();
    const last = starts.at(-1) ?? 0;
    const broken = Buffer.from(bytes);
    broken[last - 1] = 32;
    writeFileSync(path, broken);
    await expect(loadJournal(dir)).rejects.toMatchObject({ code: 'journal_corrupt' });
  });

  it('does not start when a segment is missing, torn in the middle, or from a newer Weir', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir, { segmentBytesMax: 4 * 1024 });
    for (let i = 0; i < 20; i++) {
      await openCall(journal, `req_${i}`);
      await closeCall(journal, `req_${i}`);
    }
    await journal.close();
    expect(existsSync(segmentPath(dir, 5))).toBe(true);
    const copy = (change: (copied: string) => void) => {
      const copied = join(temporaryFolder(), 'journal');
      mkdirSync(copied);
      for (const name of readdirSync(dir)) copyFileSync(join(dir, name), join(copied, name));
      change(copied);
      return expect(loadJournal(copied)).rejects;
    };

    await copy((copied) => rmSync(segmentPath(copied, 3))).toThrow('segment 3 is missing');
    await copy((copied) => {
      const path = segmentPath(copied, 2);
      writeFileSync(path, readFileSync(path).subarray(0, -10));
    }).toThrow('the end is broken off');
    await copy((copied) => {
      const path = segmentPath(copied, 1);
      writeFileSync(path, new RecordEncoder().encode([bodyOf('H', `${JOURNAL_VERSION}\t0\t0`)]));
    }).toThrow('bytes long');
    await copy((copied) =>
      writeFileSync(segmentPath(copied, 1), new RecordEncoder().encode([bodyOf('H', `${JOURNAL_VERSION + 1}\t0\t0`)])),
    ).toThrow('newer Weir');
  });

  it('takes a segment that was only begun for nothing, and the torn end before it for an end', async () => {
    const { dir, path, bytes, starts } = await written();
    const last = starts.at(-1) ?? 0;
    for (const unborn of [Buffer.alloc(0), Buffer.from('1234')]) {
      writeFileSync(path, bytes.subarray(0, -7));
      writeFileSync(segmentPath(dir, 2), unborn);
      const loaded = await loadJournal(dir);
      expect(loaded.cut).toMatchObject({ path, offset: last });
      expect(existsSync(segmentPath(dir, 2))).toBe(false);
    }
  });
});
