import { createCustomer } from '#billing/customers/customer.ts';
import type { Database } from '#billing/db/database.ts';
import { ingest } from '#billing/events/ingest.ts';
import { type CloseReport, closeDuePeriods } from '#billing/jobs/close-periods.ts';
import { createPlan, planTerms } from '#billing/plans/plan.ts';
import { type Policies, policies } from '#billing/rating/policies.ts';
import type { BillingDay } from '#billing/subscriptions/periods.ts';
import { type Subscription, subscribe } from '#billing/subscriptions/subscription.ts';
import { newId } from '#core/id.ts';
import { SILENT } from '#core/log.ts';
import { usageEvent } from './usage-events.ts';

export interface WorldPlan {
  currency?: string;
  fee?: string | null;
  charges?: readonly unknown[];
}

export interface NewWorldCustomer {
  plan?: WorldPlan;
  zone?: string;
  startMs?: number;
  billingDay?: BillingDay;
  policies?: Partial<Policies>;
}

/** A database with customers on plans and a clock of its own: what a story about billing needs. */
export interface BillingWorld {
  db: Database;
  clock: { nowMs: number };
  /** A customer of its own plan, subscribed. */
  customer(wanted?: NewWorldCustomer): Promise<{ id: string; subscription: Subscription }>;
  /** Takes an event of the customer, as the gateway would send it. Gives its id. */
  use(customer: string, atMs: number, quantities: Record<string, string>, model?: string): Promise<string>;
  /** Runs the job that closes what is due. */
  close(): Promise<CloseReport>;
}

/** 2.50 USD per million input tokens, 10.00 per million output tokens, and 20.00 a month. */
export const TOKEN_PLAN: WorldPlan = {
  fee: '20',
  charges: [
    { meter: 'input_tokens', price: { kind: 'unit', amount: '2.5', per: '1000000' } },
    { meter: 'output_tokens', price: { kind: 'unit', amount: '10', per: '1000000' } },
  ],
};

export function billingWorld(db: Database, nowMs: number): BillingWorld {
  const clock = { nowMs };
  return {
    db,
    clock,
    customer: async (wanted = {}) => {
      const { currency = 'USD', fee = null, charges = [] } = wanted.plan ?? TOKEN_PLAN;
      const terms = planTerms.parse({ name: 'Plan', currency, fee, charges });
      return db.transaction(async (tx) => {
        const zone = wanted.zone ?? 'UTC';
        const wantedCustomer = { name: 'Customer', timezone: zone, currency, limits: [] };
        const customer = await createCustomer(tx, wantedCustomer, clock.nowMs);
        const plan = await createPlan(tx, newId('plan', clock.nowMs), terms, clock.nowMs);
        const subscription = await subscribe(
          tx,
          {
            customer: customer.id,
            plan: plan.id,
            startMs: wanted.startMs,
            billingDay: wanted.billingDay,
            policies: policies.parse(wanted.policies ?? {}),
          },
          clock.nowMs,
        );
        return { id: customer.id, subscription };
      });
    },
    use: async (customer, atMs, quantities, model = 'gpt-4o') => {
      const event = usageEvent({ customer, atMs, quantities, model });
      const [result] = await ingest(db, [event], clock.nowMs);
      if (result?.status !== 'accepted') throw new Error(`event ${event.id} is ${JSON.stringify(result)}`);
      return event.id;
    },
    close: () => closeDuePeriods(db, { nowMs: clock.nowMs, log: SILENT }),
  };
}
