-- Meters in versions, and what they measured.

-- A meter is a name for a row of versions. The terms of those that were here become their version 1.
create table meter_version (
  meter_id text collate "C" not null references meter (id),
  version integer not null check (version > 0),
  -- As config/meter-terms.ts has them. Never changed: prices of plan versions name a version of a meter.
  terms jsonb not null,
  created_at timestamptz not null,
  -- What was taken before the version was made is measured by a job, from this hour to that instant; null when it is done.
  unmeasured_from timestamptz,
  unmeasured_to timestamptz,
  check ((unmeasured_from is null) = (unmeasured_to is null)),
  primary key (meter_id, version)
);
insert into meter_version (meter_id, version, terms, created_at)
  select id, 1, jsonb_build_object('aggregation', aggregation, 'unit', unit, 'event_type', 'weir.usage.v1',
    'dimensions', '[]'::jsonb, 'recurring', false, 'proration', 'none'), created_at
  from meter;
alter table meter drop column aggregation, drop column unit;
alter table meter add column managed_by text not null default 'api' check (managed_by in ('api', 'config'));
alter table meter alter column managed_by drop default;
-- Set when a meter of the configuration is no longer in it: no new prices, the old ones go on.
alter table meter add column removed_at timestamptz;

-- Changes with every new version of a meter. Taking events shares an advisory lock that making a version takes alone,
-- and reads this row: so the first batch after a version is made is measured by it.
create table meter_feed (
  id integer primary key check (id = 1),
  epoch text not null,
  version bigint not null
);
insert into meter_feed (id, epoch, version) values (1, gen_random_uuid()::text, 0);

-- What meters add up, written in the transaction that takes the events: by slots of a minute or of a quarter of an hour
-- (every zone's days begin on one), by values of the meter's dimensions (a JSON list), and for a unique count by what is
-- counted. A row without events is deleted.
create table meter_roll_up (
  meter text collate "C" not null,
  version integer not null,
  customer text collate "C" not null,
  slot timestamptz not null,
  dimensions text collate "C" not null,
  item text collate "C" not null,
  events int8 not null,
  total numeric not null,
  -- Kept for a maximum and a minimum only; measured anew when an event is taken back.
  least numeric,
  greatest numeric,
  primary key (meter, version, customer, slot, dimensions, item)
) with (fillfactor = 60);

-- The events of meters whose order matters (levels, the latest value), one by one. Ordered by time, source and id, which
-- is the same however they arrived.
create table meter_point (
  meter text collate "C" not null,
  version integer not null,
  customer text collate "C" not null,
  time timestamptz not null,
  source text collate "C" not null,
  id text collate "C" not null,
  revision int4 not null,
  -- Of an event with parts the number of the part.
  part int4 not null,
  dimensions text collate "C" not null,
  value numeric not null,
  item text collate "C" not null,
  operation text not null check (operation in ('add', 'remove')),
  -- The revision that took it back.
  taken_back int4,
  primary key (meter, version, customer, time, source, id, revision, part)
);

-- Events that a meter could not measure: its expression does not fit them. They are counted nowhere else less.
create table meter_problem (
  meter text collate "C" not null,
  version integer not null,
  source text collate "C" not null,
  id text collate "C" not null,
  revision int4 not null,
  customer text collate "C" not null,
  time timestamptz not null,
  detail text not null,
  primary key (meter, version, source, id, revision)
);
create index meter_problem_by_customer on meter_problem (meter, version, customer, time);
