/**
 * A gateway's journal where there is little room, in the folder in argv: fills it until openings are refused, closes
 * what is in flight, makes room, goes on, and says what it saw as one line of JSON. With `disk` as second argument the
 * folder is a file system of a few megabytes, which is filled to the last byte too.
 */
import { appendFileSync, globSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { SILENT } from '#core/log.ts';
import { openJournal } from '#proxy/sink/journal/journal.ts';
import { closeCall, idsOf, openCall, shipAll } from '#test/support/journal-calls.ts';
import { poll } from '#test/support/poll.ts';

const [mount = '', kind = ''] = process.argv.slice(2);
const dir = join(mount, 'journal');
const filler = join(mount, 'filler');
const settings = { fsync: 'interval', fsyncIntervalMs: 20, bytesMax: 2 ** 30, segmentBytesMax: 256 * 1024 } as const;

const journal = await openJournal({ dir, settings, now: Date.now, log: SILENT });
let number = 0;

async function openUntilRefused(): Promise<{ opened: string[]; code: string }> {
  const opened: string[] = [];
  for (;;) {
    const id = `req_${number++}`;
    try {
      await openCall(journal, id);
      opened.push(id);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      return { opened, code };
    }
  }
}

function fillDisk(blocksLeft: number): void {
  const { bavail, bsize } = statfsSync(mount);
  appendFileSync(filler, Buffer.alloc((bavail - blocksLeft) * bsize));
}

/** Calls that come at once, and have room for some of their openings only. Answers which of those that were refused can be read. */
async function openTogether(): Promise<{ opened: string[]; readable: string[] }> {
  const ids = Array.from({ length: 60 }, () => `req_${number++}`);
  const ends = await Promise.allSettled(ids.map((id) => openCall(journal, id)));
  const isOpen = (_: string, i: number): boolean => ends[i]?.status === 'fulfilled';
  const opened = ids.filter(isOpen);
  const refused = ids.filter((id, i) => !isOpen(id, i));
  const files = globSync('journal-*', { cwd: dir }).map((name) => readFileSync(join(dir, name), 'utf8'));
  const readable = refused.filter((id) => files.some((text) => text.includes(`\tO\t${id}\t`)));
  return { opened, readable };
}

async function fallsBackToService(): Promise<void> {
  await poll(() => journal.fault === undefined);
}

// There is room for a part of what comes at once.
await openCall(journal, 'req_first');
if (kind === 'disk') fillDisk(4);
const together = await openTogether();
rmSync(filler, { force: true });
await fallsBackToService();
await Promise.all(['req_first', ...together.opened].map((id) => closeCall(journal, id, 1n)));
await shipAll(journal);

// The journal itself fills the disk.
const own = await openUntilRefused();
await Promise.all(own.opened.map((id) => closeCall(journal, id, 1n)));
const ownShipped = idsOf(await shipAll(journal));
await fallsBackToService();

// Something else fills it while calls are in flight.
const calls = Array.from({ length: 50 }, () => `req_${number++}`);
await Promise.all(calls.map((id) => openCall(journal, id)));
if (kind === 'disk') fillDisk(0);
const other = await openUntilRefused();
const inFlight = [...calls, ...other.opened];
await Promise.all(inFlight.map((id) => closeCall(journal, id, 2n)));
const closedOnFullDisk = journal.fault !== undefined;
rmSync(filler, { force: true });
await fallsBackToService();
const last = `req_${number++}`;
await openCall(journal, last);
await closeCall(journal, last, 3n);
await journal.close();

// What a restart finds.
const again = await openJournal({ dir, settings, now: Date.now, log: SILENT });
const found = idsOf(await shipAll(again));
const stillOpen = again.liveCount;
await again.close();
console.log(
  JSON.stringify({
    own: { opened: own.opened.length, code: own.code, shipped: ownShipped.length },
    together: { opened: together.opened.length, readable: together.readable },
    other: { code: other.code, closedOnFullDisk, wanted: [...inFlight, last], found, stillOpen },
  }),
);
