import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SILENT } from '#core/log.ts';
import type { Opening } from '#proxy/sink/sink.ts';
import { sampleCall } from '#test/conformance/stored.ts';
import { MemoryObserver } from '#test/gateway/harness.ts';
import { type RecordingCounters, recordingCounters } from '#test/support/counters.ts';
import { openTestJournal, temporaryFolder } from '#test/support/journal.ts';
import { eventOf, unshipped } from '#test/support/journal-calls.ts';
import { sampleClosing } from '#test/support/usage.ts';
import type { Journal } from '../sink/journal/journal.ts';
import { recoverJournal } from '../sink/journal/recovery.ts';
import { journalSink } from '../sink/journal-sink.ts';
import type { Sink } from '../sink/sink.ts';
import { Settler } from './settler.ts';
import { type SqliteStored, sqliteStored } from './sqlite-node.ts';
import type { OpenCall } from './stored.ts';

/** A gateway's journal and store on one folder, as one process has them after the other. */
interface Process {
  readonly journal: Journal;
  readonly stored: SqliteStored;
  readonly sink: Sink;
  readonly settler: Settler;
  recover(): Promise<{ closed: number }>;
  die(): Promise<void>;
}

async function start(folder: string, counters: RecordingCounters): Promise<Process> {
  const journal = await openTestJournal(join(folder, 'journal'));
  const stored = sqliteStored(join(folder, 'stored.db'), SILENT);
  const sink = journalSink({ counters, journal });
  return {
    journal,
    stored,
    sink,
    settler: new Settler(stored.calls, sink, new MemoryObserver()),
    recover: () =>
      recoverJournal({
        journal,
        isHandedOver: async (customer, id) => (await stored.calls.find(customer, id)) !== undefined,
      }),
    async die() {
      stored.close();
      await journal.close();
    },
  };
}

function ofResponses(call: OpenCall): Opening {
  const { estimate } = call.opening;
  return { ...call.opening, estimate: { ...estimate, data: { ...estimate.data, wire: 'openai-responses' } } };
}

/** The steps of a call that goes on, in their order; each leaves what was done behind when the process dies after it. */
const STEPS: readonly ((process: Process, call: OpenCall) => Promise<unknown>)[] = [
  ({ sink }, call) => sink.open(ofResponses(call)),
  ({ stored }, call) => stored.calls.keep(call),
  ({ journal }, call) => journal.abandoned(call.id),
  ({ stored }, call) => stored.calls.conclude(call, sampleClosing(call.id, 7n)),
  ({ sink }, call) => {
    const { reservation, event, used } = sampleClosing(call.id, 7n);
    return sink.open({ reservation, estimate: event, estimatedUse: used });
  },
  ({ sink }, call) => sink.close(sampleClosing(call.id, 7n)),
  ({ stored }, call) => stored.calls.forget(call),
];
const KEPT = 2;

describe('a call that goes on', () => {
  it.each(STEPS.map((_, i) => i + 1))(
    'has one event with one body, though its gateway dies after step %i',
    async (done) => {
      const folder = temporaryFolder();
      const counters = recordingCounters();
      const call = sampleCall('acme');
      const before = await start(folder, counters);
      for (const step of STEPS.slice(0, done)) await step(before, call);
      await before.die();

      const after = await start(folder, counters);
      await after.recover();
      // Whoever looks sees it end; it was concluded otherwise, should it have been.
      const found = await after.stored.calls.find('acme', call.id);
      if (found && found !== 'forgotten') {
        expect(await after.settler.settle(found.call, found.closing ?? sampleClosing(call.id, 7n))).toBe(true);
      }
      expect(await after.stored.calls.find('acme', call.id)).toBeUndefined();
      expect(after.journal.liveCount).toBe(0);
      const events = (await unshipped(after.journal)).map((entry) => JSON.stringify(eventOf(entry)));
      expect(new Set(events).size).toBe(1);
      const wanted = done < KEPT ? ofResponses(call).estimate : sampleClosing(call.id, 7n).event;
      expect(JSON.parse(events[0] ?? '')).toEqual(wanted);
      await after.die();
    },
  );

  it('waits in the journal where nobody can say whether it was handed over', async () => {
    const folder = temporaryFolder();
    const counters = recordingCounters();
    const call = sampleCall('acme');
    const before = await start(folder, counters);
    await before.sink.open(ofResponses(call));
    await before.die();
    const after = await start(folder, counters);
    const away = () => Promise.reject(new Error('the store is away'));
    const first = await recoverJournal({ journal: after.journal, isHandedOver: away });
    expect(first).toMatchObject({ closed: 0, undecided: [{ id: call.id }] });
    expect(after.journal.liveCount).toBe(1);
    const isHandedOver = async () => false;
    const again = await recoverJournal({ journal: after.journal, isHandedOver }, first.undecided);
    expect(again).toEqual({ closed: 1, undecided: [] });
    await after.die();
  });
});
