-- Days of some zones begin on a half or a quarter of an hour (Kolkata, Kathmandu). For their customers usage is summed by
-- the quarter of an hour as well, so that a page of days reads no events. From this instant on: it lies further ahead than
-- any event that was taken before it was set.
alter table customer add column quarters_from timestamptz;
create index customer_by_quarters on customer (id collate "C") where quarters_from is not null;
comment on index customer_by_quarters is 'ROLL_UP, with every batch of events; empty where all zones are of whole hours';

create table usage_quarter (
  customer text collate "C" not null,
  quarter timestamptz not null,
  key text collate "C" not null,
  model text collate "C" not null,
  unit text collate "C" not null,
  quantity numeric not null,
  primary key (customer, quarter, key, model, unit)
) with (fillfactor = 60);

create table cost_quarter (
  customer text collate "C" not null,
  quarter timestamptz not null,
  key text collate "C" not null,
  model text collate "C" not null,
  currency text collate "C" not null,
  cost numeric not null,
  events int8 not null,
  estimated int8 not null,
  primary key (customer, quarter, key, model, currency)
) with (fillfactor = 60);
