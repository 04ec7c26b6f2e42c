-- What the operator has switched off: see Halt in core/key-policy.ts. A halt that is lifted stays as its record.

create table halt (
  id text primary key,
  customer_id text references customer (id),
  key_id text references key (id),
  -- Upstreams live in the gateways' configurations.
  upstream text,
  model text,
  cut_open boolean not null,
  reason text not null,
  created_at timestamptz not null,
  created_by text not null,
  lifted_at timestamptz,
  lifted_by text,
  check (num_nonnulls(customer_id, key_id, upstream, model) > 0)
);
create index halt_in_force on halt (customer_id) where lifted_at is null;
comment on index halt_in_force is 'listHaltsInForce, at every change of a policy; whether a customer is paused';

-- Of a revoked key: its calls in flight end too.
alter table key add column cut_open boolean not null default false;
