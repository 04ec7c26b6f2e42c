-- Figures that were found not to be what their events give, and what was done about it.

-- An operator's command: what stood there before, what the events gave, and why. The sums that it replaced are gone.
create table usage_repair (
  id text primary key,
  customer text collate "C" not null,
  from_at timestamptz not null,
  to_at timestamptz not null check (to_at > from_at),
  reason text not null,
  -- Who gave it.
  token text not null,
  repaired_at timestamptz not null,
  -- [{ hour, key, model, unit, rolled_up, recomputed }]
  differences jsonb not null
);
create index usage_repair_by_customer on usage_repair (customer, id);
comment on index usage_repair_by_customer is 'listRepairs of a customer';

-- One open finding for each hour of a customer.
create table usage_finding (
  seq int8 generated always as identity primary key,
  customer text collate "C" not null,
  hour timestamptz not null,
  found_at timestamptz not null,
  differences jsonb not null,
  repair_id text references usage_repair (id)
);
create unique index usage_finding_open on usage_finding (customer, hour) where repair_id is null;
comment on index usage_finding_open is 'upsertFinding; updateFindingsRepaired';
