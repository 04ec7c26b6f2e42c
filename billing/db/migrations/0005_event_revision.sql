-- Events of any type, and what became of them later.

-- The rows of an event, in their order: revision 0 counts it as it was first taken; each further one takes back the row
-- before it (sign -1, the same contents) or counts it anew (sign 1). Rows are added and never changed, but for `live`:
-- of the rows of an event at most one is live, the one that counts now. Sums of quantity * sign over all rows, and sums
-- over the live ones, are the same in any span of time; what cannot be summed (a maximum, the latest) reads the live ones.
-- A row without customer, key or model has '' there.
alter table event
  add column type text collate "C" not null default 'weir.usage.v1',
  add column revision int4 not null default 0 check (revision >= 0),
  add column sign int2 not null default 1 check (sign in (1, -1)),
  add column live boolean not null default true;
alter table event alter column type drop default;

-- Where the latest row of an event stands. `hash` remains that of the body that was first taken: its repeat is a repeat.
alter table event_id add column revision int4 not null default 0;

-- What changed an event: a correction replaces its body, a deletion takes it back for a reason. A correction that is
-- older than the one that was applied before it came is kept without effect (its revision is null): the result is the
-- same in whatever order they come.
create table event_correction (
  source text collate "C" not null,
  id text collate "C" not null,
  target_source text collate "C" not null,
  target_id text collate "C" not null,
  -- Decides between corrections of one event, then their id and source.
  time timestamptz not null,
  received_at timestamptz not null,
  reason text not null,
  deletes boolean not null,
  -- The last of the rows that it made, and where the row stood that it took back.
  revision int4,
  customer text collate "C",
  event_at timestamptz,
  primary key (id, source)
);
create index event_correction_of_target on event_correction (target_id, target_source, time);

alter table late_event add column revision int4 not null default 0;
alter table late_event drop constraint late_event_pkey, add primary key (source, event_id, revision);

-- A template that read it, when one did: a raw row is tried again through it.
alter table event_parked add column template text;
