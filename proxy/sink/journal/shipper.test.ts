import { performance } from 'node:perf_hooks';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { SILENT } from '#core/log.ts';
import type { Hold } from '#proxy/limits/counters.ts';
import { encodeReservation } from '#proxy/limits/reservation-text.ts';
import { type BillingStub, billingStub } from '#test/support/billing-stub.ts';
import { openTestJournal, temporaryFolder } from '#test/support/journal.ts';
import { closeCall, closeSettled, openCall } from '#test/support/journal-calls.ts';
import { sampleClosing } from '#test/support/usage.ts';
import { httpShipping } from './http-shipping.ts';
import type { Journal } from './journal.ts';
import { type Shipper, shipEntries, shipJournal } from './shipper.ts';

const SERIES = { name: 'budget/month', startMs: 0 };
const BACKOFF = { firstMs: 5, maxMs: 40 };
/** A thread takes a second to start where other tests want the processors too. */
const PATIENCE = { timeout: 20_000 };

async function shipping(
  dir = temporaryFolder(),
): Promise<{ billing: BillingStub; journal: Journal; shipper: Shipper; stop: () => Promise<void> }> {
  const billing = await billingStub();
  onTestFinished(() => billing.down());
  const started = await ship(dir, billing);
  return { billing, ...started };
}

async function ship(dir: string, billing: BillingStub) {
  const journal = await openTestJournal(dir, { segmentBytesMax: 64 * 1024 });
  const { ship, close } = httpShipping({ url: `${billing.url}/`, token: 'wr_api_secret' });
  const shipper = shipJournal({ journal, ship, now: Date.now, log: SILENT, backoff: BACKOFF });
  const stop = async () => {
    await shipper.stop();
    await close();
    await journal.close();
  };
  return { journal, shipper, stop };
}

async function call(journal: Journal, id: string, outputTokens: bigint): Promise<void> {
  await openCall(journal, id);
  await closeCall(journal, id, outputTokens);
}

const calls = (journal: Journal, from: number, to: number) =>
  Promise.all(Array.from({ length: to - from }, (_, i) => call(journal, `req_${from + i}`, BigInt(from + i))));

describe('the shipper', () => {
  it('posts batches of CloudEvents with the token to /v1/events', async () => {
    const { billing, journal, shipper, stop } = await shipping();
    await call(journal, 'req_1', 5n);
    await shipper.shipped();
    expect(billing.headers).toEqual([
      ['POST', '/v1/events', 'application/cloudevents-batch+json', 'Bearer wr_api_secret'],
    ]);
    expect(billing.events.get('req_1')?.data.quantities.output_tokens).toBe('5');
    await stop();
  });

  it('brings an event to billing within tens of milliseconds when idle, and groups them under load', async () => {
    const { billing, journal, shipper, stop } = await shipping();
    const waits: number[] = [];
    for (let i = 0; i < 20; i++) {
      await call(journal, `req_idle_${i}`, 1n);
      const from = performance.now();
      await shipper.shipped();
      waits.push(performance.now() - from);
    }
    waits.sort((a, b) => a - b);
    expect(waits[10]).toBeLessThan(100);

    await calls(journal, 0, 3000);
    await shipper.shipped();
    expect(billing.events.size).toBe(3020);
    expect(billing.batches.length).toBeLessThan(150);
    expect(Math.max(...billing.batches)).toBeLessThanOrEqual(1000);
    await stop();
  });

  it('keeps what billing does not take, tries again until it does, and loses and doubles nothing', async () => {
    const { billing, journal, shipper, stop } = await shipping();
    await calls(journal, 0, 50);
    await shipper.shipped();
    await billing.down();
    await calls(journal, 50, 400);
    await vi.waitFor(() => expect(shipper.failing).toBe(true), PATIENCE);
    await vi.waitFor(() => expect(shipper.backlog().oldestAgeMs).toBeGreaterThan(10), PATIENCE);
    expect(shipper.backlog()).toMatchObject({ count: 350 });
    expect(shipper.backlog().bytes).toBeGreaterThan(350 * 500);

    await billing.up();
    billing.answer = { status: 503, afterCommit: false };
    await vi.waitFor(() => expect(billing.batches.length).toBeGreaterThan(5), PATIENCE);
    // Committed, and the answer says otherwise: what comes again has to be the same.
    billing.answer = { status: 500, afterCommit: true };
    await vi.waitFor(() => expect(billing.events.size).toBeGreaterThan(50), PATIENCE);
    billing.answer = { status: 200, afterCommit: false };
    await shipper.shipped();
    expect(billing.events.size).toBe(400);
    expect(billing.conflicts).toEqual([]);
    for (let i = 0; i < 400; i++) {
      expect(billing.events.get(`req_${i}`)?.data.quantities.output_tokens).toBe(String(i));
    }
    expect(shipper.failing).toBe(false);
    expect(shipper.backlog()).toEqual({ count: 0, bytes: 0, oldestAgeMs: 0 });
    await stop();
  });

  it('says that what was closed so far is shipped, although more is closed all the time', async () => {
    const journal = await openTestJournal(temporaryFolder());
    let number = 0;
    const close = async (): Promise<void> => {
      const id = `req_${number++}`;
      await openCall(journal, id);
      await closeCall(journal, id, 1n);
    };
    await close();
    // Each batch is followed by another closing before it is over: there is never a moment without one.
    const shipper = shipJournal({ journal, ship: shipEntries(close), now: Date.now, log: SILENT });
    await shipper.shipped();
    expect(journal.unshipped).toBeGreaterThan(0);
    await shipper.stop();
    await journal.close();
  });

  it('ships only what billing does not get another way, once that has arrived, and says what it was', async () => {
    const billing = await billingStub();
    onTestFinished(() => billing.down());
    const journal = await openTestJournal(temporaryFolder());
    const brought: string[] = [];
    let arrivals = 0;
    const { ship, close } = httpShipping(
      { url: billing.url, token: 'wr_api_secret' },
      {
        async arrived() {
          arrivals++;
          billing.keep(sampleClosing('req_2', 2n).event);
        },
        brought: async (calls) => void brought.push(...calls.map(({ id, customer }) => `${customer} ${id}`)),
        inherited: 0,
      },
    );
    for (const [i, id] of ['req_1', 'req_2', 'req_3'].entries()) {
      await openCall(journal, id);
      await closeSettled(journal, id, BigInt(i + 1));
    }
    billing.keep(sampleClosing('req_1', 1n).event);
    const shipper = shipJournal({ journal, ship, now: Date.now, log: SILENT, ripeMs: 3_600_000 });
    await shipper.shipped();
    expect(arrivals).toBe(1);
    expect(billing.batches).toEqual([1]);
    expect([...billing.events.keys()]).toEqual(['req_1', 'req_2', 'req_3']);
    expect(brought).toEqual(['acme req_3']);
    expect(billing.conflicts).toEqual([]);
    await shipper.stop();
    await close();
    await journal.close();
  });

  it('says again what it brought until that was heard: where an answer was lost, nobody listened, or it died', async () => {
    const billing = await billingStub();
    onTestFinished(() => billing.down());
    const journal = await openTestJournal(temporaryFolder());
    const told: string[][] = [];
    let deaf = 0;
    const start = () => {
      const { ship, close } = httpShipping(
        { url: billing.url, token: 'wr_api_secret' },
        {
          arrived: () => Promise.resolve(),
          async brought(calls) {
            if (deaf-- > 0) throw new Error('the counters are away');
            told.push(calls.map(({ id, isSent }) => `${id} ${isSent}`));
          },
          inherited: journal.ordinal,
        },
      );
      const shipper = shipJournal({ journal, ship, now: Date.now, log: SILENT, backoff: BACKOFF, ripeMs: 0 });
      return { shipper, stop: () => Promise.all([shipper.stop(), close()]) };
    };
    const first = start();
    const bring = async (id: string, { shipper } = first) => {
      await openCall(journal, id);
      await closeSettled(journal, id);
      await shipper.shipped();
    };
    deaf = 1;
    await bring('req_unheard');
    expect(told.splice(0)).toEqual([['req_unheard false']]);

    billing.answer = { status: 502, afterCommit: true };
    void bring('req_unanswered').catch(() => undefined);
    await vi.waitFor(() => expect(billing.events.has('req_unanswered')).toBe(true), PATIENCE);
    billing.answer = { status: 200, afterCommit: false };
    await first.shipper.shipped();
    expect(told.splice(0)).toEqual([['req_unanswered false']]);

    await bring('req_surely');
    expect(told.splice(0)).toEqual([['req_surely true']]);
    await first.stop();

    await openCall(journal, 'req_inherited');
    await closeSettled(journal, 'req_inherited');
    billing.keep(sampleClosing('req_inherited', 7n).event);
    const second = start();
    await second.shipper.shipped();
    expect(told.splice(0)).toEqual([['req_inherited false']]);
    billing.keep(sampleClosing('req_by_its_stream', 7n).event);
    await bring('req_by_its_stream', second);
    expect(told).toEqual([]);
    await second.stop();
    await journal.close();
  });

  it('asks billing by the id of the event, which is another where a call was let through without its limits', async () => {
    const billing = await billingStub();
    onTestFinished(() => billing.down());
    const journal = await openTestJournal(temporaryFolder());
    const otherWay = {
      arrived: vi.fn(() => Promise.resolve()),
      brought: vi.fn(() => Promise.resolve()),
      inherited: 0,
    };
    const { ship, close } = httpShipping({ url: billing.url, token: 'wr_api_secret' }, otherWay);
    const { event } = sampleClosing('req_1', 7n);
    billing.keep(event);
    await openCall(journal, 'req_1.away');
    await journal.closedSettled('req_1.away', JSON.stringify(event), '');
    const shipper = shipJournal({ journal, ship, now: Date.now, log: SILENT, ripeMs: 0 });
    await shipper.shipped();
    expect(billing.batches).toEqual([]);
    expect(otherWay.brought).not.toHaveBeenCalled();
    await shipper.stop();
    await close();
    await journal.close();
  });

  it('tells again of what billing has had for long where it is rewound, since the store may be as it was before', async () => {
    const billing = await billingStub();
    onTestFinished(() => billing.down());
    const journal = await openTestJournal(temporaryFolder());
    const told: string[] = [];
    const { ship, tellUntil, close } = httpShipping(
      { url: billing.url, token: 'wr_api_secret' },
      {
        arrived: () => Promise.resolve(),
        brought: async (calls) => void told.push(...calls.map(({ id, isSent }) => `${id} ${isSent}`)),
        inherited: 0,
      },
    );
    const shipper = shipJournal({ journal, ship, now: Date.now, log: SILENT, ripeMs: 0 });
    for (const id of ['req_1', 'req_2', 'req_3']) {
      billing.keep(sampleClosing(id, 7n).event);
      await openCall(journal, id);
      await closeSettled(journal, id);
    }
    await shipper.shipped();
    expect(told).toEqual([]);
    tellUntil(journal.ordinal);
    journal.rewind();
    await shipper.shipped();
    expect(told).toEqual(['req_1 false', 'req_2 false', 'req_3 false']);
    expect(journal.unshipped).toBe(0);
    await shipper.stop();
    await close();
    await journal.close();
  });

  it('says what was counted in periods of those too that were settled later, since their store was away', async () => {
    const billing = await billingStub();
    onTestFinished(() => billing.down());
    const journal = await openTestJournal(temporaryFolder());
    const brought = vi.fn(() => Promise.resolve());
    const otherWay = { arrived: () => Promise.resolve(), brought, inherited: 0 };
    const { ship, close } = httpShipping({ url: billing.url, token: 'wr_api_secret' }, otherWay);
    const { reservation, event } = sampleClosing('req_1', 7n);
    const budget: Hold = { kind: 'quota', counter: 'budget', amount: 9n, limit: 9n, expiresAtMs: 5, series: SERIES };
    await openCall(journal, 'req_1');
    const held = encodeReservation({ ...reservation, holds: [...reservation.holds, budget] });
    await journal.closedUnsettled('req_1', JSON.stringify(event), held, '1,1,1,1');
    const shipper = shipJournal({ journal, ship, now: Date.now, log: SILENT, ripeMs: 0 });
    await shipper.shipped();
    expect(brought).toHaveBeenCalledWith([
      { id: 'req_1', customer: 'acme', atMs: expect.any(Number), counts: '[["budget",5]]', isSent: true },
    ]);
    await shipper.stop();
    await close();
    await journal.close();
  });

  it('ships after a restart what it was stopped in the middle of', async () => {
    const dir = temporaryFolder();
    const { billing, journal, shipper, stop } = await shipping(dir);
    await billing.down();
    await calls(journal, 0, 300);
    await vi.waitFor(() => expect(shipper.failing).toBe(true), PATIENCE);
    await stop();
    await billing.up();

    const again = await ship(dir, billing);
    await again.shipper.shipped();
    expect(billing.events.size).toBe(300);
    expect(billing.conflicts).toEqual([]);
    await again.stop();
  });

  it('stops at once while it waits to try again', async () => {
    const journal = await openTestJournal(temporaryFolder());
    const post = vi.fn(() => Promise.reject(new Error('billing is away')));
    const backoff = { firstMs: 3_600_000, maxMs: 3_600_000 };
    const shipper = shipJournal({ journal, ship: shipEntries(post), now: Date.now, log: SILENT, backoff });
    await call(journal, 'req_1', 1n);
    await vi.waitFor(() => expect(shipper.failing).toBe(true), PATIENCE);
    await shipper.stop();
    expect(post).toHaveBeenCalledOnce();
    await journal.close();
  });

  it('comes down to single events when a batch fails, so that one bad event holds up nothing before it', async () => {
    const journal = await openTestJournal(temporaryFolder());
    const taken: string[] = [];
    const post = async (batch: readonly { id: string }[]) => {
      if (batch.some(({ id }) => id === 'req_9')) throw new Error('no');
      taken.push(...batch.map(({ id }) => id));
    };
    await calls(journal, 0, 20);
    const ship = shipEntries(post);
    const shipper = shipJournal({ journal, ship, now: Date.now, log: SILENT, backoff: { firstMs: 1, maxMs: 1 } });
    await vi.waitFor(() => expect(taken).toHaveLength(9));
    expect(shipper.backlog().count).toBe(11);
    await shipper.stop();
    await journal.close();
  });
});
