import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Database } from '#billing/db/database.ts';
import { migrate } from '#billing/db/migrate.ts';
import { type PgliteDatabase, pgliteDatabase } from '#billing/db/pglite.ts';
import { listInvoices } from '#billing/invoices/invoice.ts';
import { builtinPriceBook } from '#config/price-book.ts';
import { SILENT } from '#core/log.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { type DatabaseKind, testDatabase } from '#test/support/database.ts';
import { type JobStore, type Jobs, startJobs } from './jobs.ts';

interface Place {
  db: Database;
  store: JobStore;
  drop(): Promise<void>;
}

async function place(kind: DatabaseKind): Promise<Place> {
  if (kind === 'pglite') {
    const db: PgliteDatabase = await pgliteDatabase();
    await migrate(db);
    return { db, store: { pglite: db.pglite }, drop: () => db.close() };
  }
  const test = await testDatabase('postgres');
  if (!test.url) throw new Error('a server has an address');
  return { db: test.db, store: { url: test.url }, drop: test.drop };
}

describe.each(['postgres', 'pglite'] as const)('the jobs on %s', (kind) => {
  let at: Place;
  let world: BillingWorld;
  const running: Jobs[] = [];
  beforeAll(async () => {
    at = await place(kind);
    world = billingWorld(at.db, Date.parse('2026-01-01T00:00:00Z'));
  });
  afterAll(async () => {
    await Promise.all(running.map((jobs) => jobs.stop()));
    await at.drop();
  });

  const start = async (): Promise<Jobs> => {
    const clock = () => world.clock.nowMs;
    const jobs = await startJobs({
      db: at.db,
      store: at.store,
      clock,
      log: SILENT,
      priceBook: builtinPriceBook,
      pollSeconds: 0.5,
    });
    running.push(jobs);
    return jobs;
  };
  const invoicesOf = (customer: string) => listInvoices(at.db, { customer, count: 100 });

  it('close what became due while none ran, all periods of it, once each', async () => {
    const { id } = await world.customer();
    world.clock.nowMs = Date.parse('2026-03-02T00:00:00Z');
    await Promise.all([start(), start()]);
    await vi.waitFor(async () => expect(await invoicesOf(id)).toHaveLength(2), { timeout: 25_000, interval: 100 });
  });

  it('close by the clock that they are given', async () => {
    const { id } = await world.customer();
    world.clock.nowMs = Date.parse('2026-04-02T00:30:00Z');
    const [jobs] = running;
    await jobs?.wake();
    world.clock.nowMs = Date.parse('2026-04-02T01:00:00Z');
    await jobs?.wake();
    await vi.waitFor(async () => expect(await invoicesOf(id)).toHaveLength(1), { timeout: 25_000, interval: 100 });
  });

  it('stop when they are told, and start again', async () => {
    await Promise.all(running.splice(0).map((jobs) => jobs.stop()));
    const { id } = await world.customer();
    world.clock.nowMs = Date.parse('2026-06-02T01:00:00Z');
    await start();
    await vi.waitFor(async () => expect(await invoicesOf(id)).toHaveLength(2), { timeout: 25_000, interval: 100 });
  });
});
