import type { Database } from '#billing/db/database.ts';
import { makePartitions } from '#billing/db/partitions.ts';
import { forgetIdempotencyKeys } from '#billing/http/idempotency.ts';
import { measureThePast } from '#billing/measurements/measure.ts';
import { forgetPoints } from '#billing/otlp/count-metrics.ts';
import { trimParked } from '#billing/parked-events/parked-event.ts';
import { retryParked } from '#billing/parked-events/retry.ts';
import { refreshPrices } from '#billing/policies/policy.ts';
import { checkRollups } from '#billing/repairs/repair.ts';
import { runSimulations } from '#billing/simulations/simulation.ts';
import type { PriceBook } from '#core/price.ts';

/** What runs by the clock, beside the closing of periods. Each may run at any time, any number of times. */
export interface JobKind {
  name: string;
  /** UTC. */
  cron: string;
  run(db: Database, nowMs: number, book: PriceBook): Promise<unknown>;
}

export const JOB_KINDS: readonly JobKind[] = [
  { name: 'run_simulations', cron: '* * * * *', run: runSimulations },
  { name: 'refresh_limit_prices', cron: '* * * * *', run: refreshPrices },
  { name: 'check_rollups', cron: '7,17,27,37,47,57 * * * *', run: (db, nowMs) => checkRollups(db, nowMs) },
  { name: 'measure_the_past', cron: '* * * * *', run: measureThePast },
  { name: 'make_partitions', cron: '17 * * * *', run: (db, nowMs) => makePartitions(db, nowMs) },
  { name: 'retry_parked_events', cron: '29 * * * *', run: (db, nowMs, book) => retryParked(db, nowMs, { book }) },
  { name: 'trim_parked_events', cron: '37 * * * *', run: (db) => trimParked(db) },
  { name: 'forget_points', cron: '41 3 * * *', run: forgetPoints },
  { name: 'forget_idempotency_keys', cron: '43 * * * *', run: forgetIdempotencyKeys },
];
