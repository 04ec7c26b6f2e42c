-- Results that are sold: a ticket that was resolved, a workflow that ended. Each is a usage event of its own, so that it
-- is rated, explained and corrected like any other; what is kept besides is here.

create table outcome (
  -- Also the id of its event.
  id text collate "C" primary key,
  customer_id text collate "C" not null references customer (id),
  kind text not null,
  quantity numeric not null check (quantity > 0),
  occurred_at timestamptz not null,
  -- Calls of the customer with this label are parts of it, and are charged by it alone.
  workflow text collate "C",
  -- What shows that it happened: references, kept as they were given.
  evidence jsonb not null,
  reversible_until timestamptz not null,
  created_at timestamptz not null,
  reversed_at timestamptz,
  reversal jsonb,
  check ((reversed_at is null) = (reversal is null))
);
create unique index outcome_workflow on outcome (customer_id, workflow) where workflow is not null;
comment on index outcome_workflow is 'insertOutcome: a workflow ends once; and coveredIn, which leaves its calls out';
create index outcome_customer_id on outcome (customer_id, id);
comment on index outcome_customer_id is 'listOutcomes of a customer';

-- A workflow whose outcome came when a period with calls of it was closed: for the invoices up to `seq` (as late_event
-- has it) they were charged.
create table late_cover (
  outcome_id text collate "C" not null references outcome (id),
  subscription_id text not null,
  period_index integer not null,
  seq int8 not null,
  primary key (outcome_id, subscription_id, period_index),
  foreign key (subscription_id, period_index) references subscription_period (subscription_id, period_index)
);
create index late_cover_period on late_cover (subscription_id, period_index);
comment on index late_cover_period is 'listAdjustable, coveredIn';

create index event_in_workflow on event (customer, time) where (body #> '{data,labels}') ? 'workflow';
comment on index event_in_workflow is 'coveredIn: calls that an outcome may cover';
