-- How rows of somebody's own format become events. Raw rows that could not be read wait in event_parked under its name.
create table event_template (
  id text primary key,
  name text not null,
  -- A JSON Schema that a row must meet; null for any row.
  row_schema jsonb,
  mapping jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
