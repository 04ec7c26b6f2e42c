import { describe, expect, it } from 'vitest';
import { recordingCounters } from '#test/support/counters.ts';
import { openTestJournal, temporaryFolder } from '#test/support/journal.ts';
import { eventOf, idsOf, unshipped } from '#test/support/journal-calls.ts';
import { sampleClosing, sampleOpening } from '#test/support/usage.ts';
import { recoverJournal } from './journal/recovery.ts';
import { journalSink } from './journal-sink.ts';

describe('the journal sink', () => {
  it('settles the counters and keeps the event of a call, once, however often it is closed', async () => {
    const counters = recordingCounters();
    const journal = await openTestJournal(temporaryFolder());
    const sink = journalSink({ counters, journal });
    await sink.open(sampleOpening('req_1'));
    await Promise.all([sink.close(sampleClosing('req_1', 5n)), sink.close(sampleClosing('req_1', 6n))]);
    await sink.close(sampleClosing('req_1', 7n));
    expect(counters.settled.get('req_1')?.used).toEqual(sampleClosing('req_1', 5n).used);
    const closings = await unshipped(journal);
    expect(closings.map(eventOf)).toEqual([sampleClosing('req_1', 5n).event]);
    await journal.close();
  });

  it('gives the holds of an abandoned call back and leaves no event, after a crash either', async () => {
    const dir = temporaryFolder();
    const counters = recordingCounters();
    const journal = await openTestJournal(dir);
    const sink = journalSink({ counters, journal });
    await sink.open(sampleOpening('req_1'));
    await sink.abandon(sampleOpening('req_1'));
    expect(counters.released).toEqual(new Set(['req_1']));
    await journal.close();

    const again = await openTestJournal(dir);
    expect(await recoverJournal({ journal: again })).toMatchObject({ closed: 0 });
    expect(again.unshipped).toBe(0);
    await again.close();
  });

  it('closes with its estimate what the process before left open, and leaves the counters to what billing says', async () => {
    const dir = temporaryFolder();
    const before = await openTestJournal(dir);
    const sink = journalSink({ counters: recordingCounters(), journal: before });
    for (let i = 0; i < 600; i++) void sink.open(sampleOpening(`req_${i}`));
    await sink.drain();
    await sink.close(sampleClosing('req_17', 5n));
    await before.close();

    const journal = await openTestJournal(dir);
    expect(await recoverJournal({ journal })).toMatchObject({ closed: 599 });
    expect(await recoverJournal({ journal })).toMatchObject({ closed: 0 });
    const { estimate } = sampleOpening('req_3');
    const events = new Map((await unshipped(journal)).map((entry) => [entry.id, eventOf(entry)]));
    expect(events.size).toBe(600);
    expect(events.get('req_3')).toEqual(estimate);
    expect(events.get('req_17')).toEqual(sampleClosing('req_17', 5n).event);
    await journal.close();
  });

  it('drains: everything that was closed is recorded when it answers', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir, { fsync: 'interval' });
    const sink = journalSink({ counters: recordingCounters(), journal });
    await sink.open(sampleOpening('req_1'));
    void sink.close(sampleClosing('req_1', 5n));
    await sink.drain();
    expect(idsOf(await unshipped(journal))).toEqual(['req_1']);
    await journal.close();
  });
});
