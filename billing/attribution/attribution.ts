import { getCustomer } from '#billing/customers/customer.ts';
import type { Database } from '#billing/db/database.ts';
import { parseExactObject } from '#billing/event-formats/exact-json.ts';
import { CORRECTION_TYPE } from '#billing/events/event-schema.ts';
import { ingest } from '#billing/events/ingest.ts';
import { Fault } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import { formatInstant } from '#core/time.ts';
import { type AttributedEvents, selectEventsToAttribute, selectUnattributed, type UnattributedRow } from './store.ts';

/** Usage that nobody is billed for: events that name no customer, or one that is not there. Kept and metered all the same. */
export type Unattributed = UnattributedRow;

/** Events in one go: each is a correction with two rows. */
export const ATTRIBUTED_MAX = 2_000;
const COUNTED_MAX = 10_000;

export async function listUnattributed(
  db: Database,
  after: string | undefined,
  limit: number,
): Promise<Unattributed[]> {
  return await selectUnattributed(db, { after, countMax: COUNTED_MAX, limit });
}

/**
 * Gives events to a customer: a correction of each, so that what was billed and what is late come out right and the
 * history shows it. Gives how many, and whether there are more.
 */
export async function attributeEvents(
  tx: Database,
  events: AttributedEvents,
  to: { customer: string; reason: string },
  nowMs: number,
): Promise<{ attributed: number; more: boolean }> {
  await getCustomer(tx, to.customer);
  if (events.name === to.customer) {
    const detail = 'They are that customer’s already.';
    throw new Fault('validation_failed', { issues: [{ pointer: '#/customer', detail }] });
  }
  const found = await selectEventsToAttribute(tx, events, ATTRIBUTED_MAX + 1);
  const corrections = found.slice(0, ATTRIBUTED_MAX).map(({ source, id, time, body }) => ({
    ...{ specversion: '1.0', id: newId('evt', nowMs), source: '/weir/attribution', type: CORRECTION_TYPE },
    time: formatInstant(nowMs),
    data: { source, id, reason: to.reason, event: ofCustomer(parseExactObject(body), to.customer, time) },
  }));
  const results = corrections.length === 0 ? [] : await ingest(tx, corrections, nowMs);
  const wrong = results.find(({ status }) => status !== 'accepted');
  if (wrong) throw new Fault('internal', { story: `an attribution was ${wrong.status}` });
  return { attributed: results.length, more: found.length > ATTRIBUTED_MAX };
}

/** The same event, of a customer. One that was sent without a time keeps the instant when it came. */
function ofCustomer(event: Record<string, unknown>, customer: string, timeMs: number): Record<string, unknown> {
  const { data } = event;
  const isNamed = typeof data === 'object' && data !== null && Object.hasOwn(data, 'customer');
  return {
    ...event,
    subject: customer,
    time: event.time ?? formatInstant(timeMs),
    ...(isNamed ? { data: { ...data, customer } } : {}),
  };
}
