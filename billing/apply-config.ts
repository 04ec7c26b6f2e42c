import { applyConfigCustomers } from '#billing/customers/customer.ts';
import type { Database } from '#billing/db/database.ts';
import { applyConfigKeys } from '#billing/keys/key.ts';
import { applyMeters } from '#billing/meters/meter.ts';
import { applyPlans } from '#billing/plans/plan.ts';
import { refreshPoliciesOfCustomers, refreshPoliciesTakenOver } from '#billing/policies/policy.ts';
import { applySubscriptions } from '#billing/subscriptions/subscription.ts';
import type { Config } from '#config/config.ts';

/**
 * Brings the meters, customers, keys, plans and subscriptions of the configuration into the database, where they are read-only
 * for the API. Idempotent:
 * at each start and each reload. What is no longer in the configuration is marked, never deleted: it has been billed.
 */
export async function applyConfig(
  db: Database,
  config: Pick<Config, 'customers' | 'meters' | 'plans'>,
  nowMs: number,
): Promise<void> {
  await db.transaction(async (tx) => {
    await applyMeters(tx, config.meters, nowMs);
    const changed = await applyConfigCustomers(tx, config.customers, nowMs);
    await applyConfigKeys(
      tx,
      config.customers.flatMap((customer) => customer.keys),
      nowMs,
    );
    await refreshPoliciesOfCustomers(tx, changed, nowMs);
    await refreshPoliciesTakenOver(tx, nowMs);
    await applyPlans(tx, config.plans, nowMs);
    await applySubscriptions(tx, config.customers, nowMs);
  });
}
