import { type Database, instant, sql } from '#billing/db/database.ts';
import type { ParkedEvent, ParkedReason } from '#billing/events/event.ts';

export async function insertParked(db: Database, events: readonly ParkedEvent[], nowMs: number): Promise<void> {
  await db.query(sql`
    insert into event_parked (hash, reason, detail, source, id, received_at, body, template)
    select decode(hash, 'hex'), reason, detail, source, id, ${instant(nowMs)}::timestamptz, body, template
    from unnest(
      ${events.map((event) => event.hash)}::text[], ${events.map((event) => event.reason)}::text[],
      ${events.map((event) => event.detail)}::text[], ${events.map((event) => event.source)}::text[],
      ${events.map((event) => event.id)}::text[], ${events.map((event) => event.body)}::text[],
      ${events.map((event) => event.template)}::text[]
    ) given (hash, reason, detail, source, id, body, template)
    order by hash
    on conflict do nothing`);
}

export interface ParkedRow {
  seq: bigint;
  reason: ParkedReason;
  detail: string;
  source: string | null;
  id: string | null;
  received_at: number;
  body: string;
  template: string | null;
}

export async function selectParked(
  db: Database,
  filter: {
    reason: ParkedReason | undefined;
    template: string | undefined;
    beforeSeq: bigint | undefined;
    limit: number;
  },
): Promise<ParkedRow[]> {
  const { reason = null, template = null, beforeSeq = null, limit } = filter;
  return await db.query<ParkedRow>(sql`
    select seq, reason, detail, source, id, received_at, body, template from event_parked
    where seq < coalesce(${beforeSeq}::int8, 9223372036854775807)
      and (${reason}::text is null or reason = ${reason}) and (${template}::text is null or template = ${template})
    order by seq desc limit ${limit}`);
}

export interface LockedRow {
  seq: bigint;
  body: string;
  template: string | null;
  received_at: number;
}

/** Oldest first and locked, for another try: all, or those of one template. */
export async function lockParked(
  db: Database,
  filter: { afterSeq: bigint; template: string | undefined; limit: number },
): Promise<LockedRow[]> {
  const { afterSeq, template = null, limit } = filter;
  return await db.query<LockedRow>(sql`
    select seq, body, template, received_at from event_parked
    where seq > ${afterSeq} and (${template}::text is null or template = ${template})
    order by seq limit ${limit} for update skip locked`);
}

/** Gives how many there were. */
export async function deleteParked(db: Database, seqs: readonly bigint[]): Promise<number> {
  const rows = await db.query(sql`delete from event_parked where seq = any(${seqs}::int8[]) returning seq`);
  return rows.length;
}

/** Of what its sender was told is wrong; gives how many. */
export async function deleteOldestParked(db: Database, keptMax: number): Promise<number> {
  const rows = await db.query(sql`
    delete from event_parked where reason in ('malformed', 'time_out_of_range') and seq <= (
      select seq from event_parked where reason in ('malformed', 'time_out_of_range')
      order by seq desc offset ${keptMax} limit 1
    ) returning seq`);
  return rows.length;
}
