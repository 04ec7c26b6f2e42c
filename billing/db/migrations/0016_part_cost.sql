-- Where the cost of one of several models is not known, that of the event is not: then it is counted as unknown for each,
-- and the event is among those without a known cost.
create or replace function usage_cost(event_model text, data jsonb)
returns table (model text, currency text, cost numeric, events int4)
language sql immutable parallel safe
as $$
  select event_model, coalesce(data #>> '{cost,currency}', 'XXX'), coalesce((data #>> '{cost,amount}')::numeric, 0), 1
  where not data ? 'parts'
  union all
  select coalesce(part.value ->> 'model', event_model),
    case when known.whole then coalesce(part.value #>> '{cost,currency}', 'XXX') else 'XXX' end,
    case when known.whole then coalesce((part.value #>> '{cost,amount}')::numeric, 0) else 0 end,
    case when part.ordinality = 1 then 1 else 0 end
  from jsonb_array_elements(data -> 'parts') with ordinality as part,
    (select data #>> '{cost,amount}' is not null) as known (whole)
$$;
