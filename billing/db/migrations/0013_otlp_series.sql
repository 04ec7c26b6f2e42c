-- The last value of each cumulative series of OTLP metrics: what is counted is what came on top of it. Restarted series
-- begin anew with another start.
create table otlp_series (
  -- SHA-256 of resource, scope, name and attributes.
  hash text primary key collate "C",
  start_nanos numeric not null,
  time_nanos numeric not null,
  value numeric not null,
  updated_at timestamptz not null
);
create index otlp_series_updated_at on otlp_series (updated_at);
comment on index otlp_series_updated_at is 'deleteOldSeries';
