import { type Database, findRow, instant, json, sql } from '#billing/db/database.ts';

export interface Evidence {
  kind: string;
  reference: string;
}

export interface OutcomeRow {
  id: string;
  customer_id: string;
  kind: string;
  quantity: string;
  occurred_at: number;
  workflow: string | null;
  evidence: Evidence[];
  reversible_until: number;
  created_at: number;
  reversed_at: number | null;
  reversal: { reason: string; evidence: Evidence[] } | null;
}

const OUTCOME = sql`
  select id, customer_id, kind, trim_scale(quantity) as quantity, occurred_at, workflow, evidence, reversible_until,
         created_at, reversed_at, reversal
  from outcome`;

/** False when the id is taken, or the customer's workflow has its outcome. */
export async function insertOutcome(db: Database, row: Omit<OutcomeRow, 'reversed_at' | 'reversal'>): Promise<boolean> {
  const rows = await db.query(sql`
    insert into outcome
      (id, customer_id, kind, quantity, occurred_at, workflow, evidence, reversible_until, created_at)
    values (${row.id}, ${row.customer_id}, ${row.kind}, ${row.quantity}, ${instant(row.occurred_at)}, ${row.workflow},
            ${json(row.evidence)}, ${instant(row.reversible_until)}, ${instant(row.created_at)})
    on conflict do nothing returning id`);
  return rows.length > 0;
}

export async function findOutcome(db: Database, id: string): Promise<OutcomeRow | undefined> {
  return findRow<OutcomeRow>(db, sql`${OUTCOME} where id = ${id}`);
}

/** Held to the end of the transaction: it is reversed once. */
export async function lockOutcome(db: Database, id: string): Promise<void> {
  await db.query(sql`select id from outcome where id = ${id} for update`);
}

export async function findOutcomeOfWorkflow(
  db: Database,
  customer: string,
  workflow: string,
): Promise<OutcomeRow | undefined> {
  return findRow<OutcomeRow>(db, sql`${OUTCOME} where customer_id = ${customer} and workflow = ${workflow}`);
}

export async function listOutcomes(
  db: Database,
  page: { customer: string | undefined; workflow: string | undefined; after: string; count: number },
): Promise<OutcomeRow[]> {
  const { customer = null, workflow = null } = page;
  return db.query<OutcomeRow>(sql`
    ${OUTCOME}
    where id > ${page.after} and (${customer}::text is null or customer_id = ${customer})
      and (${workflow}::text is null or workflow = ${workflow})
    order by id limit ${page.count}`);
}

export async function updateOutcomeReversed(
  db: Database,
  id: string,
  reversal: { reason: string; evidence: Evidence[] },
  nowMs: number,
): Promise<void> {
  await db.query(sql`
    update outcome set reversed_at = ${instant(nowMs)}, reversal = ${json(reversal)} where id = ${id}`);
}

/**
 * Closed periods that charged calls of the workflow: these are taken back by an adjustment, as late usage is added by
 * one. A draft is rated again when it is finalised, and needs none.
 */
export async function insertLateCovers(db: Database, outcome: OutcomeRow): Promise<void> {
  await db.query(sql`
    insert into late_cover (outcome_id, subscription_id, period_index, seq)
    select ${outcome.id}, period.subscription_id, period.period_index,
           nextval(pg_get_serial_sequence('late_event', 'seq'))
    from subscription_period as period
    where period.customer_id = ${outcome.customer_id} and period.closed_at is not null
      and not exists (
        select from invoice
        where invoice.subscription_id = period.subscription_id and invoice.period_index = period.period_index
          and invoice.state = 'draft')
      and exists (
        select from event
        where event.customer = ${outcome.customer_id} and event.time >= period.start_at and event.time < period.end_at
          and (event.body #> '{data,labels}') ? 'workflow' and event.live
          and event.body #>> '{data,labels,workflow}' = ${outcome.workflow})
    order by period.start_at`);
}
