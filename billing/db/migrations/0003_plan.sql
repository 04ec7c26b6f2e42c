-- What is sold, who bought it, and what they were billed. Amounts of money are whole nanos (10^-9 of the currency's unit)
-- in numeric, since a bigint ends at nine billion units, which is a car in some currencies. What is exact and not whole is
-- a pair of numerator and denominator.

-- Meters beyond those that Weir has for each of its units. Never changed: prices of the past refer to them.
create table meter (
  id text primary key,
  name text not null,
  aggregation text not null check (aggregation in ('sum', 'count')),
  unit text not null,
  created_at timestamptz not null
);

create table plan (
  id text primary key,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  managed_by text not null check (managed_by in ('api', 'config')),
  created_at timestamptz not null,
  -- Set when a plan of the configuration is no longer in it: no new subscriptions, the old ones go on.
  removed_at timestamptz
);

-- A change of a plan is a new row here. Periods name the version that they were opened with.
create table plan_version (
  plan_id text not null references plan (id),
  version integer not null check (version > 0),
  name text not null,
  billing_interval text not null check (billing_interval in ('month')),
  fee_nanos numeric(40, 0) check (fee_nanos >= 0),
  -- SHA-256 of the canonical terms: the same terms again are no new version.
  terms_hash text not null,
  created_at timestamptz not null,
  primary key (plan_id, version)
);

create table price (
  id text primary key,
  plan_id text not null,
  version integer not null,
  -- The first price of a version that matches a unit of a model is the one that rates it.
  position integer not null,
  meter text not null,
  -- The unit that the meter reads, and the pattern over models.
  unit text not null,
  model text not null,
  allowance numeric not null check (allowance >= 0),
  terms jsonb not null,
  foreign key (plan_id, version) references plan_version (plan_id, version),
  unique (plan_id, version, position)
);

create table subscription (
  id text primary key,
  customer_id text not null references customer (id),
  -- The plan of the periods to come; each open or closed period has its own.
  plan_id text not null references plan (id),
  billing_day text not null check (billing_day in ('anniversary', 'calendar')),
  anchor_on date not null,
  start_at timestamptz not null,
  end_at timestamptz check (end_at > start_at),
  -- The end of the last period that was opened.
  opened_until timestamptz not null,
  policies jsonb not null,
  managed_by text not null check (managed_by in ('api', 'config')),
  created_at timestamptz not null
);
create unique index subscription_going_on on subscription (customer_id) where end_at is null;
comment on index subscription_going_on is 'insertSubscription: two at a time would bill the same usage twice';
create index subscription_customer_id on subscription (customer_id, id);
comment on index subscription_customer_id is 'listSubscriptions and findSubscriptionAfter of a customer';
create index subscription_opened_until on subscription (opened_until);
comment on index subscription_opened_until is 'listSubscriptionsToOpen, every minute';

-- Periods, half-open. Everything that decides what one costs is frozen when it opens.
create table subscription_period (
  subscription_id text not null references subscription (id),
  period_index integer not null check (period_index >= 0),
  customer_id text not null references customer (id),
  plan_id text not null,
  plan_version integer not null,
  policies jsonb not null,
  zone text not null,
  start_at timestamptz not null,
  end_at timestamptz not null check (end_at > start_at),
  -- The interval that the period is the whole or a part of: what a fee is prorated over.
  whole_start_at timestamptz not null,
  whole_end_at timestamptz not null check (whole_end_at > whole_start_at),
  closed_at timestamptz,
  primary key (subscription_id, period_index),
  foreign key (plan_id, plan_version) references plan_version (plan_id, version)
);
create index subscription_period_due on subscription_period (end_at) where closed_at is null;
comment on index subscription_period_due is 'listDuePeriods, every minute';
create index subscription_period_customer_id on subscription_period (customer_id, end_at);
comment on index subscription_period_customer_id is 'findPeriodAt for the usage page; insertLateEvents for old events';

create table invoice (
  id text primary key,
  subscription_id text not null,
  period_index integer not null,
  kind text not null check (kind in ('period')),
  customer_id text not null references customer (id),
  state text not null check (state in ('draft', 'open', 'void')),
  -- Given when the invoice is finalised, and never again: without gaps in each series.
  number text,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- The sum of the printed lines.
  total_nanos numeric(40, 0) not null,
  created_at timestamptz not null,
  finalized_at timestamptz,
  voided_at timestamptz,
  foreign key (subscription_id, period_index) references subscription_period (subscription_id, period_index),
  check ((number is null) = (finalized_at is null)),
  check (case state when 'draft' then number is null and voided_at is null
                    when 'open' then number is not null and voided_at is null
                    else voided_at is not null end)
);
create unique index invoice_once on invoice (subscription_id, period_index, kind);
comment on index invoice_once is 'insertInvoice: nothing can bill a period twice, a void invoice included';
create unique index invoice_number on invoice (number);
comment on index invoice_number is 'finalizing: a number is given once';
create index invoice_customer_id on invoice (customer_id, id);
comment on index invoice_customer_id is 'listInvoices of a customer';

create table invoice_line (
  id text primary key,
  invoice_id text not null references invoice (id),
  position integer not null,
  kind text not null check (kind in ('fee', 'usage')),
  price_id text references price (id),
  -- All that was used; for the fee the share of the interval.
  quantity_num numeric not null,
  quantity_den numeric not null check (quantity_den > 0),
  -- Nanos before rounding.
  exact_num numeric not null,
  exact_den numeric not null check (exact_den > 0),
  -- What is printed: the exact amount rounded once.
  amount_nanos numeric(40, 0) not null,
  -- How it came about, for people; explain computes it again.
  steps jsonb not null,
  models jsonb not null,
  check ((kind = 'fee') = (price_id is null)),
  unique (invoice_id, position)
);

-- Usage of the period that no price of the plan covers.
create table invoice_unrated (
  invoice_id text not null references invoice (id),
  model text not null,
  unit text not null,
  quantity numeric not null,
  primary key (invoice_id, model, unit)
);

-- The last number given in each series; the row's lock puts finalisations into one order.
create table document_series (
  series text primary key,
  last_number bigint not null
);
insert into document_series (series, last_number) values ('invoice', 0);

-- Events of a period that was closed and no draft when they were taken: not on its invoice, and kept in sight.
create table late_event (
  source text collate "C" not null,
  event_id text collate "C" not null,
  customer_id text not null,
  subscription_id text not null,
  period_index integer not null,
  event_at timestamptz not null,
  received_at timestamptz not null,
  primary key (source, event_id),
  foreign key (subscription_id, period_index) references subscription_period (subscription_id, period_index)
);
create index late_event_period on late_event (subscription_id, period_index, event_at);
comment on index late_event_period is 'listLateUsage, and explain, which leaves late events out';

-- What was finalised stays as it was, whatever the program does: an open invoice can become void and nothing else.
create function invoice_keep_finalized() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and old.finalized_at is not null then
    raise exception 'invoice % is finalised and cannot be deleted', old.id using errcode = 'integrity_constraint_violation';
  end if;
  if tg_op = 'UPDATE' and old.finalized_at is not null and (
    (to_jsonb(new) - 'state' - 'voided_at') <> (to_jsonb(old) - 'state' - 'voided_at') or new.state <> 'void'
  ) then
    raise exception 'invoice % is finalised and cannot change', old.id using errcode = 'integrity_constraint_violation';
  end if;
  return case tg_op when 'DELETE' then old else new end;
end $$;
create trigger invoice_keep_finalized before update or delete on invoice
  for each row execute function invoice_keep_finalized();

create function invoice_part_keep_finalized() returns trigger language plpgsql as $$
declare
  touched text := case tg_op when 'INSERT' then new.invoice_id else old.invoice_id end;
begin
  if exists (select 1 from invoice where id = touched and finalized_at is not null) then
    raise exception 'invoice % is finalised and cannot change', touched using errcode = 'integrity_constraint_violation';
  end if;
  return case tg_op when 'DELETE' then old else new end;
end $$;
create trigger invoice_line_keep_finalized before insert or update or delete on invoice_line
  for each row execute function invoice_part_keep_finalized();
create trigger invoice_unrated_keep_finalized before insert or update or delete on invoice_unrated
  for each row execute function invoice_part_keep_finalized();
