import { describe, expect, it, vi } from 'vitest';
import { SILENT } from '#core/log.ts';
import { type RecordingCounters, recordingCounters } from '#test/support/counters.ts';
import { openTestJournal, temporaryFolder } from '#test/support/journal.ts';
import { eventOf, unshipped } from '#test/support/journal-calls.ts';
import { sampleClosing, sampleOpening } from '#test/support/usage.ts';
import type { Journal } from './journal/journal.ts';
import { recoverJournal } from './journal/recovery.ts';
import { journalSink } from './journal-sink.ts';
import { type RedisSink, redisSink } from './redis-sink.ts';

const AWAY = new Error('connection refused');

async function sinkOn(
  dir: string,
  counters: RecordingCounters,
): Promise<{ journal: Journal; sink: RedisSink; stop: () => Promise<void> }> {
  const journal = await openTestJournal(dir);
  const sink = redisSink({ counters, journal, now: Date.now, log: SILENT });
  const stop = async () => {
    await sink.replay.stop();
    await journal.close();
  };
  return { journal, sink, stop };
}

describe('the Redis sink', () => {
  it('settles with the event in one step and leaves nothing to replay', async () => {
    const counters = recordingCounters();
    const { journal, sink, stop } = await sinkOn(temporaryFolder(), counters);
    const closing = sampleClosing('req_1', 5n);
    await sink.open(sampleOpening('req_1'));
    await sink.close(closing);
    await sink.close(sampleClosing('req_1', 6n));
    expect(counters.settled.get('req_1')).toEqual({ used: closing.used, event: JSON.stringify(closing.event) });
    await sink.drain();
    expect(journal.liveCount).toBe(0);
    expect(journal.unsettled.unshipped).toBe(0);
    await stop();
  });

  it('keeps closings in the journal while Redis is away, and replays them in order when it is back', async () => {
    const counters = recordingCounters();
    const { journal, sink, stop } = await sinkOn(temporaryFolder(), counters);
    const ids = Array.from({ length: 200 }, (_, i) => `req_${i}`);
    await Promise.all(ids.map((id) => sink.open(sampleOpening(id))));
    counters.away = AWAY;
    for (const id of ids) await sink.close(sampleClosing(id, 5n));
    await vi.waitFor(() => expect(sink.replay.failing).toBe(true));
    expect(journal.unsettled.unshipped).toBe(200);
    expect(counters.settled.size).toBe(0);

    counters.away = undefined;
    await sink.replay.shipped();
    expect([...counters.settled.keys()]).toEqual(ids);
    const { used, event } = sampleClosing('req_7', 5n);
    expect(counters.settled.get('req_7')).toEqual({ used, event: JSON.stringify(event) });
    await stop();
  });

  it('does nothing twice when Redis did settle and only its answer was lost', async () => {
    const counters = recordingCounters();
    const settle = vi.spyOn(counters, 'settle');
    const { sink, stop } = await sinkOn(temporaryFolder(), counters);
    await sink.open(sampleOpening('req_1'));
    counters.away = AWAY;
    counters.answersLost = true;
    await sink.close(sampleClosing('req_1', 5n));
    counters.away = undefined;
    await sink.replay.shipped();
    expect(settle.mock.calls.length).toBeGreaterThan(1);
    expect(await settle.mock.results.at(-1)?.value).toMatchObject({ settled: false });
    expect(counters.settled.size).toBe(1);
    await stop();
  });

  it('brings the event of a call through whose settlement the limits can never take, and what is behind it', async () => {
    const counters = recordingCounters();
    const { sink, stop } = await sinkOn(temporaryFolder(), counters);
    await Promise.all(['req_1', 'req_2'].map((id) => sink.open(sampleOpening(id))));
    const { settle } = counters;
    vi.spyOn(counters, 'settle').mockImplementation((reservation, used, event) => {
      if (reservation.id === 'req_1') throw new RangeError('the counter is of another kind');
      return settle(reservation, used, event);
    });
    await sink.close(sampleClosing('req_1', 1n));
    await sink.close(sampleClosing('req_2', 2n));
    await sink.replay.shipped();
    const events = [...counters.settled.values()].map(({ event }) => event);
    const wanted = [sampleClosing('req_1', 1n), sampleClosing('req_2', 2n)];
    expect(new Set(events)).toEqual(new Set(wanted.map(({ event }) => JSON.stringify(event))));
    await stop();
  });

  it('gives holds back later when Redis is away at the moment', async () => {
    const counters = recordingCounters();
    const { sink, stop } = await sinkOn(temporaryFolder(), counters);
    await Promise.all(['req_1', 'req_2'].map((id) => sink.open(sampleOpening(id))));
    await sink.abandon(sampleOpening('req_1'));
    counters.away = AWAY;
    await sink.abandon(sampleOpening('req_2'));
    counters.away = undefined;
    await sink.replay.shipped();
    expect(counters.released).toEqual(new Set(['req_1', 'req_2']));
    expect(counters.settled.size).toBe(0);
    await stop();
  });

  it('finishes after a restart what Redis was away for: closings as they were, openings by estimate', async () => {
    const dir = temporaryFolder();
    const counters = recordingCounters();
    const before = await sinkOn(dir, counters);
    await Promise.all(['req_1', 'req_2', 'req_3'].map((id) => before.sink.open(sampleOpening(id))));
    await before.sink.close(sampleClosing('req_1', 1n));
    counters.away = AWAY;
    await before.sink.close(sampleClosing('req_2', 2n));
    await before.stop();

    // Away at the start as well.
    const after = await sinkOn(dir, counters);
    expect(await recoverJournal({ journal: after.journal })).toMatchObject({ closed: 1 });
    counters.away = undefined;
    await after.sink.replay.shipped();
    expect(counters.settled.get('req_1')?.event).toBe(JSON.stringify(sampleClosing('req_1', 1n).event));
    expect(counters.settled.get('req_2')?.event).toBe(JSON.stringify(sampleClosing('req_2', 2n).event));
    expect(counters.settled.get('req_3')?.event).toBe(JSON.stringify(sampleOpening('req_3').estimate));
    await after.stop();
  });

  it('takes over the journal of a gateway that kept its counters itself: every event is shipped, and nothing settled', async () => {
    const dir = temporaryFolder();
    const journal = await openTestJournal(dir);
    const before = journalSink({ counters: recordingCounters(), journal });
    await Promise.all(['req_1', 'req_2'].map((id) => before.open(sampleOpening(id))));
    await before.close(sampleClosing('req_1', 1n));
    await journal.close();

    const counters = recordingCounters();
    const after = await sinkOn(dir, counters);
    expect(await recoverJournal({ journal: after.journal })).toMatchObject({ closed: 1 });
    expect(after.journal.unsettled.unshipped).toBe(0);
    const events = new Map((await unshipped(after.journal)).map((entry) => [entry.id, eventOf(entry)]));
    expect(events.get('req_1')).toEqual(sampleClosing('req_1', 1n).event);
    expect(events.get('req_2')).toEqual(sampleOpening('req_2').estimate);
    await after.stop();
  });
});
