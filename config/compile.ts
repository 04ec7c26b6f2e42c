import { type Halt, type KeyPolicy, type LimitPolicy, policyVersion } from '#core/key-policy.ts';
import { BILLING_BOUNDS } from './bounds.ts';
import { findProvider, findRegion, type ProviderRow } from './catalogue.ts';
import { compileOverride } from './compile-models.ts';
import type { Config, CustomerConfig, PlanConfig, RouteRule, UnitSource, UpstreamConfig } from './config.ts';
import type { EnvironmentVariables } from './environment.ts';
import { sha256Hex } from './hash.ts';
import { compileLimit, instantOf, keyLimits } from './limits.ts';
import { priceBook } from './price-book.ts';
import { secretHash } from './references.ts';
import type { ConfigFile } from './schema.ts';
import type { CustomerFile, KeyFile, PlanFile } from './schema-customers.ts';
import type { HaltFile } from './schema-halts.ts';
import { termsOfFile } from './schema-meters.ts';
import type { RouteFile, UpstreamFile } from './schema-routing.ts';
import { compileGateway } from './settings.ts';

/** Makes the configuration of a file without mistakes: defaults filled in, secrets hashed, limits spelt out. */
export async function compileConfig(file: ConfigFile, env: EnvironmentVariables): Promise<Config> {
  const overrides = (file.models ?? []).map(compileOverride);
  const overridesHash = overrides.length === 0 ? '' : (await sha256Hex(canonical(overrides))).slice(0, 8);
  const plans = Object.entries(file.plans ?? {}).map(([id, plan]) => compilePlan(id, plan));
  const contents = {
    gateway: compileGateway(file.gateway ?? {}),
    billing: {
      host: file.billing?.host ?? '0.0.0.0',
      port: file.billing?.port ?? BILLING_BOUNDS.port.initial,
      url: file.billing?.url ?? null,
    },
    telemetry: {
      otlpEndpoint: file.telemetry?.otlp_endpoint ?? (env.OTEL_EXPORTER_OTLP_ENDPOINT || null),
      logLevel: file.telemetry?.log_level ?? 'info',
    },
    upstreams: new Map(Object.entries(file.upstreams ?? {}).map(([name, one]) => [name, compileUpstream(name, one)])),
    routes: (file.routes ?? []).map(compileRoute),
    halts: (file.halts ?? []).map(compileHalt),
    customers: await Promise.all(
      Object.entries(file.customers ?? {}).map(([id, customer]) => compileCustomer(id, customer, plans)),
    ),
    meters: Object.entries(file.meters ?? {}).map(([id, one]) => ({
      id,
      name: one.name ?? id,
      terms: termsOfFile(one),
    })),
    plans,
    priceBook: priceBook(overrides, overridesHash),
  };
  return { version: await sha256Hex(canonical(contents)), ...contents };
}

/** Text that is the same for the same meaning: bigints as text, maps as lists; functions are left out by JSON. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) => {
    if (typeof one === 'bigint') return one.toString();
    return one instanceof Map ? [...one.entries()] : one;
  });
}

function compileUpstream(name: string, file: UpstreamFile): UpstreamConfig {
  const address = file.base_url ?? Object.values(file.base_urls ?? {})[0] ?? null;
  const row = findProvider(file.provider ?? name, address);
  return {
    name,
    addresses: addressesOf(file, row),
    auth: file.auth ?? null,
    provider: file.provider ?? row?.provider ?? null,
    region: file.region ?? findRegion(address),
    credential: file.key ?? null,
    headers: Object.fromEntries(
      Object.entries(file.headers ?? {}).map(([header, text]) => [header.toLowerCase(), text]),
    ),
    models: file.models ?? null,
    includeUsage: file.include_usage ?? row?.include_usage ?? true,
    passthrough: file.passthrough ?? false,
    units: (file.units ?? []).map(compileUnit),
  };
}

function compileUnit({ unit, header, json, event, max }: NonNullable<UpstreamFile['units']>[number]): UnitSource {
  if (header !== undefined) return { unit, from: 'header', at: header.toLowerCase(), max };
  return json === undefined ? { unit, from: 'event', at: event ?? '', max } : { unit, from: 'json', at: json, max };
}

/** Its own addresses, else all that its provider has, or the one for its wire. */
function addressesOf(file: UpstreamFile, row: ProviderRow | undefined): UpstreamConfig['addresses'] {
  if (file.base_urls) return file.base_urls;
  if (file.wire === undefined) return row?.base_urls ?? {};
  const address = file.base_url ?? row?.base_urls[file.wire];
  return address === undefined ? {} : { [file.wire]: address };
}

function compileRoute(file: RouteFile): RouteRule {
  return {
    model: file.model,
    to: file.to.map((target) =>
      typeof target === 'string'
        ? { upstream: target, weight: 1, model: null }
        : { upstream: target.upstream, weight: Number(target.weight ?? 1n), model: target.model ?? null },
    ),
    fallback: (file.fallback ?? []).map((target) =>
      typeof target === 'string'
        ? { upstream: target, model: null }
        : { upstream: target.upstream, model: target.model ?? null },
    ),
  };
}

function compileHalt(file: HaltFile, i: number): Halt {
  return {
    id: `config/${i}`,
    customer: file.customer ?? null,
    key: file.key ?? null,
    upstream: file.upstream ?? null,
    model: file.model ?? null,
    cutOpen: file.cut_open ?? false,
  };
}

function compilePlan(id: string, file: PlanFile): PlanConfig {
  return {
    id,
    name: file.name ?? id,
    currency: file.currency ?? 'USD',
    interval: file.interval ?? 'month',
    fee: file.fee?.text ?? null,
    prices: (file.prices ?? []).map((price) => ({
      unit: price.unit,
      model: price.model ?? '*',
      amount: price.amount.text,
      per: (price.per ?? 1n).toString(),
    })),
    charges: file.charges ?? [],
  };
}

async function compileCustomer(id: string, file: CustomerFile, plans: readonly PlanConfig[]): Promise<CustomerConfig> {
  const plan = plans.find((one) => one.id === file.plan);
  const timezone = file.timezone ?? 'UTC';
  const limits = (file.limits ?? []).map((limit) => compileLimit(limit, null, timezone, plan));
  const keys = Object.entries(file.keys ?? {});
  return {
    id,
    name: file.name ?? id,
    timezone,
    currency: file.currency ?? plan?.currency ?? 'USD',
    plan: file.plan ?? null,
    limits,
    keys: await Promise.all(keys.map(([keyId, key]) => compileKey(keyId, key, id, limits, timezone, plan))),
  };
}

async function compileKey(
  id: string,
  file: KeyFile,
  customer: string,
  customerLimits: readonly LimitPolicy[],
  timezone: string,
  plan: PlanConfig | undefined,
): Promise<KeyPolicy> {
  const secrets = typeof file.secret === 'string' ? [file.secret] : file.secret;
  const own = keyLimits(file).map((limit) => compileLimit(limit, id, timezone, plan));
  const limits = [...customerLimits, ...own];
  return {
    version: policyVersion(limits),
    key: id,
    customer,
    secretHashes: await Promise.all(secrets.map(secretHash)),
    state: file.revoked ? 'revoked' : 'active',
    expiresAtMs: file.expires ? instantOf(file.expires, timezone) : null,
    models: file.models ?? [],
    labels: file.labels ?? {},
    limits,
  };
}
