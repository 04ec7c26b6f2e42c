-- Usage events and what is summed from them. Text that identifies is compared by bytes (collate "C"): cheaper, and the
-- same order of locks whatever the server's locale is.

-- Every event ever taken, for ever: (source, id) and a SHA-256 of the canonical body. No timestamp in the key, so that a
-- retry with another time is a conflict and not a second event. It stays when partitions of event are dropped.
create table event_id (
  source text collate "C" not null,
  id text collate "C" not null,
  hash bytea not null,
  time timestamptz not null,
  customer text collate "C" not null,
  primary key (id, source)
);

-- The events, one partition a month, made ahead of time. What comes for another month goes to the default partition,
-- and from there to its own once that is made: a missing partition never stops the ingest. The body is the whole event.
create table event (
  source text collate "C" not null,
  id text collate "C" not null,
  time timestamptz not null,
  customer text collate "C" not null,
  key text collate "C" not null,
  model text collate "C" not null,
  received_at timestamptz not null,
  body jsonb not null
) partition by range (time);
create table event_other partition of event default;
create index event_by_customer on event (customer, time);
create index event_by_time on event (time);

-- Another body under an id that is taken. The first one stays; these are for a person to look at.
create table event_conflict (
  seq int8 generated always as identity primary key,
  source text collate "C" not null,
  id text collate "C" not null,
  hash bytea not null,
  received_at timestamptz not null,
  body text not null,
  unique (id, source, hash)
);

-- What could not be taken, as it came: malformed, of a type that this version does not know, or out of time.
create table event_parked (
  seq int8 generated always as identity primary key,
  hash bytea not null unique,
  reason text not null,
  detail text not null,
  source text collate "C",
  id text collate "C",
  received_at timestamptz not null,
  body text not null
);
create index event_parked_by_reason on event_parked (reason, seq);

-- Roll-ups by the hour (UTC), written in the transaction that takes the events. Rows are updated again and again within
-- their hour; the free space keeps those updates on their page and out of the index.
create table usage_hour (
  customer text collate "C" not null,
  hour timestamptz not null,
  key text collate "C" not null,
  model text collate "C" not null,
  unit text collate "C" not null,
  quantity numeric not null,
  primary key (customer, hour, key, model, unit)
) with (fillfactor = 60);
create index usage_hour_by_hour on usage_hour (hour);

-- Provider cost and number of events by currency; XXX (ISO 4217: no currency) for events whose cost is unknown.
create table cost_hour (
  customer text collate "C" not null,
  hour timestamptz not null,
  key text collate "C" not null,
  model text collate "C" not null,
  currency text collate "C" not null,
  cost numeric not null,
  events int8 not null,
  estimated int8 not null,
  primary key (customer, hour, key, model, currency)
) with (fillfactor = 60);
create index cost_hour_by_hour on cost_hour (hour);
