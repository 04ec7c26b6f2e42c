-- The points of OTLP metrics that were counted, so that what a point adds hangs on which points there are and not on the
-- requests and the order in which they came.
create table otlp_point (
  -- A series since one of its starts: SHA-256 of resource, scope, name and attributes, then the start in nanoseconds.
  stream text collate "C" not null,
  time_nanos numeric not null,
  -- As it came, and what of it counts: all of it, or what came since the point before.
  value numeric not null,
  counted numeric not null,
  cumulative boolean not null,
  -- The event that it is a part of. Null of what the stream begins with: nothing before it is counted any more.
  source text collate "C",
  event_id text collate "C",
  -- What of a call's usage it says; null where it is the value of a metric of the sender's own.
  usage text,
  -- By a name that the conventions had before: not counted where the same is reported by the later name.
  former boolean not null,
  -- The resource and the second: where former names and later ones may stand side by side.
  family text collate "C",
  seen_at timestamptz not null,
  primary key (stream, time_nanos)
);
create index otlp_point_family on otlp_point (family) where family is not null;
comment on index otlp_point_family is 'listPointsOfFamilies';
create index otlp_point_time on otlp_point (time_nanos);
comment on index otlp_point_time is 'forgetPointsBefore';

insert into otlp_point (stream, time_nanos, value, counted, cumulative, former, seen_at)
  select hash || ' ' || trim_scale(start_nanos), time_nanos, value, 0, true, false, updated_at from otlp_series;
drop table otlp_series;
