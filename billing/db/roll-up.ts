import { sql } from './database.ts';

/**
 * How rows of events become roll-ups: the one place where it is said. A list of `with` queries over `fresh`, the rows
 * that the statement adds to `event` (at, source, id, revision, sign, type, time, customer, key, model, body, and
 * body's `data`). Ingest and corrections splice it into the statement that adds the rows, so that a roll-up and its
 * events are one step. Every figure is multiplied by `sign`. Rows of a roll-up are locked in sorted order. Quarters of an
 * hour are kept for the customers whose days begin on one.
 */
export const ROLL_UP = sql`
  measured as (
    insert into usage_hour as u (customer, hour, key, model, unit, quantity)
    select customer, date_trunc('hour', time, 'UTC'), key, q.model collate "C", q.unit collate "C", sum(sign * q.quantity)
    from fresh, usage_quantity(fresh.model, data) q
    where type = 'weir.usage.v1'
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    on conflict (customer, hour, key, model, unit) do update set quantity = u.quantity + excluded.quantity
  ), costed as (
    insert into cost_hour as c (customer, hour, key, model, currency, cost, events, estimated)
    select customer, date_trunc('hour', time, 'UTC'), key, q.model collate "C", q.currency collate "C",
      sum(sign * q.cost), sum(sign * q.events),
      coalesce(sum(sign * q.events) filter (where data ->> 'usage_status' = 'estimated'), 0)
    from fresh, usage_cost(fresh.model, data) q
    where type = 'weir.usage.v1'
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    on conflict (customer, hour, key, model, currency) do update
      set cost = c.cost + excluded.cost, events = c.events + excluded.events,
          estimated = c.estimated + excluded.estimated
  ), quartered as materialized (
    select fresh.customer, date_bin('15 minutes', time, timestamptz '2000-01-01T00:00:00Z') as quarter, key, model, sign, data
    from fresh join customer known on known.id collate "C" = fresh.customer and known.quarters_from <= fresh.time
    where type = 'weir.usage.v1'
  ), measured_quarters as (
    insert into usage_quarter as u (customer, quarter, key, model, unit, quantity)
    select customer, quarter, key, q.model collate "C", q.unit collate "C", sum(sign * q.quantity)
    from quartered, usage_quantity(quartered.model, data) q
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    on conflict (customer, quarter, key, model, unit) do update set quantity = u.quantity + excluded.quantity
  ), costed_quarters as (
    insert into cost_quarter as c (customer, quarter, key, model, currency, cost, events, estimated)
    select customer, quarter, key, q.model collate "C", q.currency collate "C",
      sum(sign * q.cost), sum(sign * q.events),
      coalesce(sum(sign * q.events) filter (where data ->> 'usage_status' = 'estimated'), 0)
    from quartered, usage_cost(quartered.model, data) q
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    on conflict (customer, quarter, key, model, currency) do update
      set cost = c.cost + excluded.cost, events = c.events + excluded.events,
          estimated = c.estimated + excluded.estimated
  )`;
