-- Up to where the sums and meters were recomputed from the events: the hour that is looked at, and the last customer of it
-- (null before the first; events that name no customer have '').
create table usage_check (
  id integer primary key check (id = 1),
  hour timestamptz not null,
  customer text collate "C"
);
