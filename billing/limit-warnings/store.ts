import { type Database, instant, sql } from '#billing/db/database.ts';
import { LIMIT_WARNING_TYPE } from '#core/limit-warning.ts';

export interface WarningRow {
  id: string;
  customer: string;
  time: number;
  received_at: number;
  counter: string;
  threshold: string;
  amount: string;
  currency: string | null;
}

export interface WarningFilter {
  customer: string | undefined;
  fromMs: number | undefined;
  toMs: number | undefined;
  /** Time and id of the last one of the page before. */
  after: { time: string; id: string } | undefined;
  limit: number;
}

/** Newest first. */
export async function selectWarnings(db: Database, filter: WarningFilter): Promise<WarningRow[]> {
  const { customer = null, fromMs, toMs, after } = filter;
  return await db.query<WarningRow>(sql`
    select id, customer, time, received_at, body -> 'data' ->> 'counter' as counter,
      body -> 'data' ->> 'threshold' as threshold, body -> 'data' ->> 'amount' as amount,
      body -> 'data' ->> 'currency' as currency
    from event
    where type = ${LIMIT_WARNING_TYPE} and live and (${customer}::text is null or customer = ${customer})
      and (${fromMs === undefined ? null : instant(fromMs)}::timestamptz is null
        or time >= ${fromMs === undefined ? null : instant(fromMs)}::timestamptz)
      and (${toMs === undefined ? null : instant(toMs)}::timestamptz is null
        or time < ${toMs === undefined ? null : instant(toMs)}::timestamptz)
      and (${after?.time ?? null}::timestamptz is null
        or (time, id) < (${after?.time ?? null}::timestamptz, ${after?.id ?? null}::text collate "C"))
    order by time desc, id desc limit ${filter.limit}`);
}
