import type { Database } from '#billing/db/database.ts';
import type { EventPlace } from '#billing/http/page.ts';
import { eventRowOf } from '#billing/measurements/measure.ts';
import { fieldsOf, type Gauge, measureEvent } from '#billing/meters/measured.ts';
import { assertMeasured, findMeterOfUnit, gaugeOfMeter, type Meter } from '#billing/meters/meter.ts';
import { formatFraction } from '#billing/rating/exact-amount.ts';
import type { UsageQuantity } from '#billing/rating/rating.ts';
import type { UsagePart } from '#billing/rating/usage-part.ts';
import { listMeasuredEvents, type MeterQuestion, readMeter } from '#billing/readings/reading.ts';
import type { Period } from '#billing/subscriptions/period.ts';
import { sum } from '#core/exact.ts';
import { HOUR_MS } from '#core/time.ts';
import type { Reading } from './left-over.ts';
import type { BilledEventRow, BilledHourRow } from './store.ts';

/**
 * The part of a period's usage that meters of other kinds than sums of units measure: the same readings as the usage
 * page shows, as of what the period bills. A line of such a meter is walked back to its events like any other.
 */
export async function billedReadingsOf(
  db: Database,
  period: Period,
  meters: readonly Meter[],
  lateSeq: bigint,
): Promise<(UsageQuantity & Reading)[]> {
  const rows: (UsageQuantity & Reading)[] = [];
  for (const meter of meters) {
    assertMeasured(meter);
    const readings = await readMeter(db, gaugeOfMeter(meter), questionOf(period, lateSeq));
    for (const { dimensions, quantity, measured } of readings) {
      rows.push({ model: modelOf(meter, dimensions), unit: meter.unit, quantity, meter, measured });
    }
  }
  return rows;
}

/** The meters that charges name by their units, each once; those that are sums of units are read as these. */
export async function metersOf(db: Database, units: readonly (string | null)[]): Promise<Meter[]> {
  const found: Meter[] = [];
  for (const unit of new Set(units)) {
    const meter = unit === null ? undefined : await findMeterOfUnit(db, unit);
    if (meter) found.push(meter);
  }
  return found;
}

/** By the dimensions that a price tells apart: all of them are the meter's, or the plan would not have been taken. */
export async function readingPartsOf(
  db: Database,
  period: Period,
  meter: Meter,
  models: readonly string[],
  names: readonly string[],
  lateSeq: bigint,
): Promise<UsagePart[]> {
  const readings = await readMeter(db, gaugeOfMeter(meter), questionOf(period, lateSeq));
  return readings.flatMap(({ dimensions, quantity }) => {
    const model = modelOf(meter, dimensions);
    if (!models.includes(model)) return [];
    const values = names.map((name) => dimensions[meter.terms.dimensions.indexOf(name)] ?? '');
    return [
      { model, quantity, events: 0n, event: null, segment: 0, dimensions: values, windowMs: null, carried: null },
    ];
  });
}

/** Hour by hour what the meter reads of it: parts of a sum, or the level and the maximum that stood then. */
export async function readingHoursOf(
  db: Database,
  period: Period,
  meter: Meter,
  lateSeq: bigint,
  models: readonly string[],
  page: { after: { hour: string; model: string } | undefined; count: number },
): Promise<BilledHourRow[]> {
  const { window: _window, combine: _combine, rounding: _rounding, ...terms } = meter.terms;
  const gauge: Gauge = { ...gaugeOfMeter(meter), terms: { ...terms, proration: 'none' } };
  const periods: { startMs: number; endMs: number }[] = [];
  for (let startMs = period.start_at; startMs < period.end_at; ) {
    const endMs = Math.min(startMs - (startMs % HOUR_MS) + HOUR_MS, period.end_at);
    periods.push({ startMs, endMs });
    startMs = endMs;
  }
  const readings = await readMeter(db, gauge, { ...questionOf(period, lateSeq), periods });
  const after = page.after && { hour: Date.parse(page.after.hour), model: page.after.model };
  return readings
    .map(({ period: at, dimensions, measured }) => {
      const startMs = periods[at]?.startMs ?? period.start_at;
      return {
        hour: startMs - (startMs % HOUR_MS),
        model: modelOf(meter, dimensions),
        quantity: formatFraction(measured),
      };
    })
    .filter(({ model }) => models.includes(model))
    .filter(({ hour, model }) => !after || hour > after.hour || (hour === after.hour && model > after.model))
    .sort((a, b) => a.hour - b.hour || (a.model < b.model ? -1 : 1))
    .slice(0, page.count);
}

/** The events that the meter measured, with what it read of each. */
export async function readingEventsOf(
  db: Database,
  period: Period,
  meter: Meter,
  lateSeq: bigint,
  models: readonly string[],
  page: { after: EventPlace | undefined; count: number },
): Promise<BilledEventRow[]> {
  const gauge = gaugeOfMeter(meter);
  const counts = meter.terms.aggregation === 'count' || meter.terms.aggregation === 'unique';
  const rows: BilledEventRow[] = [];
  let after = page.after && { ...page.after, time: Date.parse(page.after.time) };
  for (;;) {
    const { customer, ...span } = { ...questionOf(period, lateSeq), startMs: period.start_at, endMs: period.end_at };
    const events = await listMeasuredEvents(
      db,
      { customer, type: gauge.terms.event_type, ...span },
      span.asBilled,
      after,
    );
    for (const event of events) {
      const row = eventRowOf(event);
      const values = measureEvent(gauge, fieldsOf(row)).flatMap((measured) =>
        'problem' in measured || !models.includes(modelOf(meter, JSON.parse(measured.dimensions)))
          ? []
          : [measured.value],
      );
      if (values.length === 0) continue;
      // One row, whatever parts it has: a page ends between events.
      const { source, id, time, received_at, key, model, revision } = event;
      const status = usageStatusOf(row.body);
      const quantity = counts ? '1' : formatFraction(sum(values));
      rows.push({ source, id, time, received_at, key, model, usage_status: status, revision, quantity });
      if (rows.length === page.count) return rows;
    }
    after = events.at(-1);
    if (!after) return rows;
  }
}

function usageStatusOf({ data }: Readonly<Record<string, unknown>>): string {
  if (typeof data !== 'object' || data === null || !('usage_status' in data)) return 'final';
  return typeof data.usage_status === 'string' ? data.usage_status : 'final';
}

function questionOf(period: Period, lateSeq: bigint): MeterQuestion {
  const { subscription_id, period_index, closed_at } = period;
  return {
    customer: period.customer_id,
    periods: [{ startMs: period.start_at, endMs: period.end_at }],
    zone: period.zone,
    whole: { startMs: period.whole_start_at, endMs: period.whole_end_at },
    // Nothing comes late for a period that is open.
    asBilled: closed_at === null ? undefined : { subscription_id, period_index, lateSeq },
  };
}

/** Lines tell their models apart; a meter that does not has one for all. */
function modelOf(meter: Meter, dimensions: readonly (string | null)[]): string {
  return dimensions[meter.terms.dimensions.indexOf('model')] ?? '';
}
