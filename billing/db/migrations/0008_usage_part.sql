-- Events whose usage belongs to several models: an answer that others worked on (compaction, an adviser, a fallback).

-- What an event used, each quantity once and at the model that it belongs to: that of its part where it has parts
-- (`quantities` is their sum), else the event's own. `cost` is what that part cost in all its units. A part without a model is of the event's. One select and immutable,
-- so that the planner puts it in place of its call.
create function usage_quantity(event_model text, data jsonb)
returns table (model text, unit text, quantity numeric, cost jsonb)
language sql immutable parallel safe
as $$
  select event_model, whole.unit, whole.quantity::numeric, data -> 'cost'
  from jsonb_each_text(data -> 'quantities') as whole (unit, quantity)
  where not data ? 'parts' and whole.quantity::numeric > 0
  union all
  select coalesce(part.value ->> 'model', event_model), used.unit, used.quantity::numeric, part.value -> 'cost'
  from jsonb_array_elements(data -> 'parts') as part, jsonb_each_text(part.value -> 'quantities') as used (unit, quantity)
  where used.quantity::numeric > 0
$$;

-- What an event cost, likewise; XXX (ISO 4217: no currency) where that is unknown. It is one event at its own model and
-- none at those of its other parts.
create function usage_cost(event_model text, data jsonb)
returns table (model text, currency text, cost numeric, events int4)
language sql immutable parallel safe
as $$
  select event_model, coalesce(data #>> '{cost,currency}', 'XXX'), coalesce((data #>> '{cost,amount}')::numeric, 0), 1
  where not data ? 'parts'
  union all
  select coalesce(part.value ->> 'model', event_model), coalesce(part.value #>> '{cost,currency}', 'XXX'),
    coalesce((part.value #>> '{cost,amount}')::numeric, 0), case when part.ordinality = 1 then 1 else 0 end
  from jsonb_array_elements(data -> 'parts') with ordinality as part
$$;
