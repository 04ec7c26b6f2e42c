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

/**
 * Held alone by what makes a version of a meter, and shared by what takes events, before any lock of a customer: a batch
 * is measured by the version, or was committed before the version knows what is left to measure.
 */
const METER_LOCK = 0x7765696d;

export async function lockMeters(tx: Database): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(${METER_LOCK})`);
}

export async function shareMeterLock(tx: Database): Promise<void> {
  await tx.query(prepared('share_meter_lock', sql`select pg_advisory_xact_lock_shared(${METER_LOCK})`));
}

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

/**
 * Shared by what adds to the maxima and minima of meters, and held alone by what takes events back and so measures them
 * anew: what it reads of the events is then what the roll-up held.
 */
const EXTREME_LOCKS = 0x77656978;

export async function lockExtremes(tx: Database, customers: readonly string[], alone: boolean): Promise<void> {
  const take = alone ? sql`pg_advisory_xact_lock` : sql`pg_advisory_xact_lock_shared`;
  await tx.query(sql`
    select ${take}(${EXTREME_LOCKS}, lock.number)
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

/** Of a transaction's statements, the first one: all that follow see the same moment. */
export async function readOneSnapshot(tx: Database): Promise<void> {
  await tx.script('set transaction isolation level repeatable read');
}
