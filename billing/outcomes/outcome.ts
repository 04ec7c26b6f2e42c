import { getCustomer } from '#billing/customers/customer.ts';
import type { Database } from '#billing/db/database.ts';
import { lockCustomer } from '#billing/db/lock.ts';
import { ingest } from '#billing/events/ingest.ts';
import { findMeterById } from '#billing/meters/meter.ts';
import { COST_CURRENCY } from '#config/catalogue.ts';
import { canonicalJson } from '#core/canonical-json.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import { formatInstant, HOUR_MS } from '#core/time.ts';
import { OUTCOME_SOURCE, USAGE_EVENT_TYPE } from '#core/usage-event.ts';
import {
  type Evidence,
  findOutcome,
  findOutcomeOfWorkflow,
  insertLateCovers,
  insertOutcome,
  listOutcomes,
  lockOutcome,
  type OutcomeRow,
  updateOutcomeReversed,
} from './store.ts';

/**
 * A result that is sold. It is an event whose quantity counts under the unit of its kind, so a plan prices it with a
 * charge like any other. Reversing it within its window takes its event back: the charge goes from the invoice to come,
 * or is given back on the next one, to the last digit. An outcome that names a workflow stands for all calls with that
 * label, which no charge covers besides; should it be reversed, they stay uncharged.
 */
export type Outcome = OutcomeRow;

export interface NewOutcome {
  id?: string | undefined;
  customer: string;
  kind: string;
  quantity: string;
  atMs?: number | undefined;
  workflow: string | null;
  evidence: Evidence[];
  reversibleDays: number;
}

const DAY_MS = 24 * HOUR_MS;

/** Recording the same outcome again is recording it once. */
export async function recordOutcome(tx: Database, wanted: NewOutcome, nowMs: number): Promise<Outcome> {
  await getCustomer(tx, wanted.customer);
  if (!(await findMeterById(tx, wanted.kind))) {
    const detail = `There is no meter ${wanted.kind}: make one for the unit of this name, and a price for it.`;
    throw new Fault('validation_failed', { issues: [{ pointer: '#/kind', detail }] });
  }
  // Alone: no period of the customer closes between its event and what it covers.
  await lockCustomer(tx, wanted.customer);
  const { customer, kind, quantity, workflow, evidence, reversibleDays } = wanted;
  const existing = wanted.id === undefined ? undefined : await findOutcome(tx, wanted.id);
  const occurred = wanted.atMs ?? existing?.occurred_at ?? nowMs;
  const row: Outcome = {
    ...{ id: wanted.id ?? newId('out', nowMs), customer_id: customer, kind, quantity, workflow, evidence },
    occurred_at: occurred,
    reversible_until: occurred + reversibleDays * DAY_MS,
    created_at: nowMs,
    reversed_at: null,
    reversal: null,
  };
  if (existing) {
    if (sameOutcome(existing, row)) return existing;
    throw new Fault('already_exists', { detail: `There is an outcome ${row.id}.` });
  }
  const ended = workflow === null ? undefined : await findOutcomeOfWorkflow(tx, customer, workflow);
  if (ended) throw new Fault('already_exists', { detail: `Workflow ${workflow} has the outcome ${ended.id}.` });
  if (!(await insertOutcome(tx, row))) throw new Fault('already_exists', { detail: `There is an outcome ${row.id}.` });
  await send(tx, eventOf(row), '#/at', nowMs);
  if (workflow !== null) await insertLateCovers(tx, row);
  return getOutcome(tx, row.id);
}

/** Within its window; again, it changes nothing. */
export async function reverseOutcome(
  tx: Database,
  id: string,
  reversal: { reason: string; evidence: Evidence[] },
  nowMs: number,
): Promise<Outcome> {
  await lockOutcome(tx, id);
  const outcome = await getOutcome(tx, id);
  if (outcome.reversed_at !== null) return outcome;
  if (nowMs > outcome.reversible_until) {
    throw new Fault('state_conflict', {
      detail: `Outcome ${id} could be reversed until ${formatInstant(outcome.reversible_until)}.`,
    });
  }
  await updateOutcomeReversed(tx, id, reversal, nowMs);
  const correction = {
    specversion: '1.0',
    id: `${id}.reversal`,
    source: OUTCOME_SOURCE,
    type: 'weir.correction.v1',
    subject: outcome.customer_id,
    time: formatInstant(nowMs),
    data: { source: OUTCOME_SOURCE, id, reason: reversal.reason, event: null },
  };
  await send(tx, correction, '#/reason', nowMs);
  return getOutcome(tx, id);
}

async function send(tx: Database, event: object, pointer: string, nowMs: number): Promise<void> {
  const [result] = await ingest(tx, [event], nowMs);
  if (result?.status === 'accepted') return;
  const detail = result?.status === 'parked' ? result.detail : `Its event is a ${result?.status ?? 'nothing'}.`;
  throw new Fault('validation_failed', { issues: [{ pointer, detail }] });
}

function eventOf(outcome: Outcome): object {
  return {
    specversion: '1.0',
    id: outcome.id,
    source: OUTCOME_SOURCE,
    type: USAGE_EVENT_TYPE,
    subject: outcome.customer_id,
    time: formatInstant(outcome.occurred_at),
    datacontenttype: 'application/json',
    data: {
      customer: outcome.customer_id,
      key: 'outcomes',
      model: '',
      labels: outcome.workflow === null ? {} : { workflow: outcome.workflow },
      usage_status: 'final',
      quantities: { [outcome.kind]: outcome.quantity },
      // It has none of its own: what it took are the calls.
      cost: { amount: '0', currency: COST_CURRENCY },
      evidence: outcome.evidence,
    },
  };
}

function sameOutcome(a: Outcome, b: Outcome): boolean {
  const terms = ({ customer_id, kind, quantity, occurred_at, workflow, evidence, reversible_until }: Outcome) =>
    canonicalJson({ customer_id, kind, quantity, occurred_at, workflow, evidence, reversible_until });
  return terms(a) === terms(b);
}

export async function getOutcome(db: Database, id: string): Promise<Outcome> {
  const outcome = await findOutcome(db, id);
  if (!outcome) throw new Fault('not_found', { detail: `There is no outcome ${id}.` });
  return outcome;
}

export { listOutcomes };
