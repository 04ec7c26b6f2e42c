/**
 * What the journal costs a call: calls per second that one process can open and close, and how long a call waits for
 * its opening at a fixed rate. `node bench/journal.ts [directory]`; without one, a temporary directory.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { GatewaySettings } from '#config/config.ts';
import { newId } from '#core/id.ts';
import { SILENT } from '#core/log.ts';
import { encodeReservation, encodeUsed } from '#proxy/limits/reservation-text.ts';
import { type Journal, openJournal } from '#proxy/sink/journal/journal.ts';
import { sampleOpening } from '#test/support/usage.ts';

const CALLS = 60_000;
const CALLERS = 200;
const RATE = 5_000;
const RATE_SECONDS = 4;

type Policy = GatewaySettings['journal']['fsync'];

async function call(journal: Journal): Promise<void> {
  const { reservation, estimate, estimatedUse } = sampleOpening(newId('req', Date.now()));
  const { id } = reservation;
  await journal.opened(id, JSON.stringify(estimate), encodeReservation(reservation), encodeUsed(estimatedUse));
  await journal.closed(id, JSON.stringify(estimate), encodeReservation(reservation), encodeUsed(estimatedUse));
}

async function withJournal<T>(fsync: Policy, work: (journal: Journal) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'weir-bench-'));
  const settings = { fsync, fsyncIntervalMs: 100, bytesMax: 8 * 2 ** 30, segmentBytesMax: 64 * 2 ** 20 };
  const journal = await openJournal({ dir, settings, now: Date.now, log: SILENT });
  try {
    return await work(journal);
  } finally {
    await journal.close();
    rmSync(dir, { recursive: true });
  }
}

async function throughput(journal: Journal): Promise<string> {
  let left = CALLS;
  const cpu = process.cpuUsage();
  const start = performance.now();
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (left-- > 0) await call(journal);
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  const used = process.cpuUsage(cpu);
  const bytes = Math.round(journal.bytes / CALLS);
  const micros = ((used.user + used.system) / CALLS).toFixed(1);
  return `${Math.round(CALLS / seconds)} calls/s (${Math.round((2 * CALLS) / seconds)} records/s), ${micros} us of CPU and ${bytes} bytes a call`;
}

/** Calls begin on a clock, whether or not the ones before have ended. */
async function waits(journal: Journal): Promise<string> {
  const millis: number[] = [];
  const calls: Promise<void>[] = [];
  const cpu = process.cpuUsage();
  const start = performance.now();
  let begun = 0;
  while (begun < RATE * RATE_SECONDS) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const due = Math.min(RATE * RATE_SECONDS, Math.trunc(((performance.now() - start) / 1000) * RATE));
    for (; begun < due; begun++) {
      const { reservation, estimate, estimatedUse } = sampleOpening(newId('req', Date.now()));
      const { id } = reservation;
      const from = performance.now();
      calls.push(
        journal
          .opened(id, JSON.stringify(estimate), encodeReservation(reservation), encodeUsed(estimatedUse))
          .then(() => {
            millis.push(performance.now() - from);
            return journal.closed(
              id,
              JSON.stringify(estimate),
              encodeReservation(reservation),
              encodeUsed(estimatedUse),
            );
          }),
      );
    }
  }
  await Promise.all(calls);
  const used = process.cpuUsage(cpu);
  const micros = ((used.user + used.system) / millis.length).toFixed(1);
  millis.sort((a, b) => a - b);
  const at = (share: number) => (millis[Math.trunc(millis.length * share)] ?? 0).toFixed(3);
  return `an opening waits ${at(0.5)} ms at the median, ${at(0.99)} ms at p99, ${at(0.999)} ms at p99.9, ${micros} us of CPU a call`;
}

for (const fsync of ['never', 'interval', 'always'] satisfies Policy[]) {
  await withJournal(fsync, throughput);
  console.log(`fsync ${fsync}, ${CALLERS} callers: ${await withJournal(fsync, throughput)}`);
  console.log(`fsync ${fsync}, ${RATE} calls/s: ${await withJournal(fsync, waits)}`);
}
