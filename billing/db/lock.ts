import { type Database, sql } from './database.ts';

/**
 * One lock per customer, held to the end of the transaction. What decides what a customer is billed takes it alone
 * (closing a period, finalising, subscribing); taking events shares it. So the close of a period sees an event or comes
 * before it, never half of a batch: an event that waits for a close is late, and is recorded as that.
 *
 * The second key keeps apart from other advisory locks; a collision of two customers' hashes costs a wait, nothing else.
 */
const CUSTOMER_LOCKS = 0x77656973;

export async function lockCustomer(tx: Database, customer: string): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(${CUSTOMER_LOCKS}, hashtext(${customer}))`);
}

/** In one order, whatever order the customers come in, so that two batches cannot wait for each other. */
export async function shareCustomerLocks(tx: Database, customers: readonly string[]): Promise<void> {
  await tx.query(sql`
    select pg_advisory_xact_lock_shared(${CUSTOMER_LOCKS}, lock.hash)
    from (
      select distinct hashtext(name) as hash from unnest(${customers}::text[]) as customer (name) order by 1
    ) as lock`);
}
