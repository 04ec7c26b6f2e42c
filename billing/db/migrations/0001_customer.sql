-- Who may call the API, who is billed, and which keys they hold.

create table token (
  id text primary key,
  name text not null,
  role text not null check (role in ('admin', 'ops', 'finance', 'viewer', 'ingest')),
  -- SHA-256 of the plaintext, hex: the plaintext is shown once and kept nowhere.
  secret_hash text not null check (secret_hash ~ '^[0-9a-f]{64}$'),
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz
);
create unique index token_secret_hash on token (secret_hash);
comment on index token_secret_hash is 'findTokenByHash, on every request; one token per secret';

create table idempotency (
  -- No foreign key: the bootstrap token of the environment has no row.
  token_id text not null,
  key text not null,
  request_hash text not null,
  -- Null only inside the transaction that inserts the row.
  status integer,
  answer jsonb,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  primary key (token_id, key)
);
create index idempotency_expires_at on idempotency (expires_at);
comment on index idempotency_expires_at is 'deleteExpiredIdempotencyKeys';

create table customer (
  id text primary key,
  name text not null,
  timezone text not null,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- LimitPolicy[] of scope customer, as core/key-policy.ts has it.
  limits jsonb not null default '[]',
  managed_by text not null check (managed_by in ('api', 'config')),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  -- Set when a customer of the configuration is no longer in it. Nothing that was billed is ever deleted.
  removed_at timestamptz
);

create table key (
  id text primary key,
  customer_id text not null references customer (id),
  name text not null,
  mode text not null check (mode in ('live', 'test')),
  state text not null check (state in ('active', 'revoked')),
  -- Patterns; empty for every model.
  models jsonb not null default '[]',
  labels jsonb not null default '{}',
  -- LimitPolicy[] of scope key.
  limits jsonb not null default '[]',
  expires_at timestamptz,
  managed_by text not null check (managed_by in ('api', 'config')),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  removed_at timestamptz
);
create index key_customer_id on key (customer_id, id);
comment on index key_customer_id is 'listKeys of a customer; listKeyIds when its limits change';

-- The secrets of keys that are managed here; those of the configuration stay in the configuration.
create table key_secret (
  secret_hash text primary key check (secret_hash ~ '^[0-9a-f]{64}$'),
  key_id text not null references key (id),
  -- The last characters, so that people can tell which secret they hold.
  hint text not null,
  created_at timestamptz not null,
  -- Set when a newer secret has taken over: the end of the grace period.
  expires_at timestamptz
);
create index key_secret_key_id on key_secret (key_id);
comment on index key_secret_key_id is 'listKeySecrets, listPolicySources';
create index key_secret_expires_at on key_secret (expires_at) where expires_at is not null;
comment on index key_secret_expires_at is 'getPolicyPosition, twice a second; deleteEndedKeySecrets';

-- What gateways are told about the keys that are managed here. The single row of policy_feed is the lock that puts
-- changes into one order: whoever reads version n has seen every change up to n.
create table policy_feed (
  id integer primary key check (id = 1),
  -- Changes when the database is made anew, so that a gateway notices that its version means nothing here.
  epoch text not null,
  version bigint not null
);
insert into policy_feed (id, epoch, version) values (1, gen_random_uuid()::text, 0);

create table key_policy (
  key_id text primary key references key (id),
  version bigint not null,
  -- KeyPolicy; null once the configuration has taken the key over.
  policy jsonb
);
create index key_policy_version on key_policy (version);
comment on index key_policy_version is 'listPoliciesAfter';
