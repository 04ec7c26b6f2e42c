import { type Database, prepared, sql } from './database.ts';

/**
 * One lock per customer, held to the end of the transaction. What decides what a customer is billed takes it alone
 * (closing a period, finalising, subscribing); taking events shares it. So the close of a period sees an event or comes
 * before it, never half of a batch: an event that waits for a close is late, and is recorded as that.
 *
 * Customers share a fixed number of locks, since a batch of events can be of thousands of customers and Postgres has
 * room for some 6,400 locks in all; two customers of one lock cost a wait, nothing else. The first key keeps apart from
 * other advisory locks.
 */
const CUSTOMER_LOCKS = 0x77656973;
const LOCKS_MAX = 256;

export async function lockCustomer(tx: Database, customer: string): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(${CUSTOMER_LOCKS}, hashtext(${customer}) & ${LOCKS_MAX - 1}::int4)`);
}

/** All of them, in the order in which batches of events share them, so that neither waits for the other in a circle. */
export async function lockCustomers(tx: Database, customers: readonly string[]): Promise<void> {
  await tx.query(sql`
    select pg_advisory_xact_lock(${CUSTOMER_LOCKS}, lock.number)
    from (
      select distinct hashtext(name) & ${LOCKS_MAX - 1}::int4 as number
      from unnest(${customers}::text[]) as customer (name) order by 1
    ) as lock`);
}

/** In one order, whatever order the customers come in, so that two batches cannot wait for each other. */
export async function shareCustomerLocks(tx: Database, customers: readonly string[]): Promise<void> {
  await tx.query(
    prepared(
      'share_customer_locks',
      sql`
        select pg_advisory_xact_lock_shared(${CUSTOMER_LOCKS}, lock.number)
        from (
          select distinct hashtext(name) & ${LOCKS_MAX - 1}::int4 as number
          from unnest(${customers}::text[]) as customer (name) order by 1
        ) as lock`,
    ),
  );
}
