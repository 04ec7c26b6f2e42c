-- What recorded usage would have come to under other plans, models or costs. Nothing of it is billed.

create table simulation (
  id text primary key,
  state text not null check (state in ('queued', 'running', 'done', 'failed')),
  -- What was asked, as it was asked: billing/simulations/simulation.ts.
  question jsonb not null,
  error text,
  created_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz,
  customers integer,
  check ((state in ('done', 'failed')) = (finished_at is not null))
);
create index simulation_open on simulation (created_at) where state in ('queued', 'running');
comment on index simulation_open is 'findOpenSimulation, every minute';

-- One row per customer, written when it is computed: a simulation that is interrupted goes on where it was.
create table simulation_customer (
  simulation_id text not null references simulation (id),
  customer_id text not null references customer (id),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  periods integer not null,
  revenue_before_nanos numeric not null,
  revenue_after_nanos numeric not null,
  -- Decimal, in the currency of the catalogue; what has no cost is in `uncosted`.
  cost_before numeric not null,
  cost_after numeric not null,
  -- What has usage and no cost or no price: `model unit`.
  uncosted jsonb not null,
  unrated jsonb not null,
  primary key (simulation_id, customer_id)
);
