import type { Halt, KeyPolicy, LimitPolicy } from '#core/key-policy.ts';
import type { Unit } from '#core/quantity.ts';
import type { ChargeTerms } from './charge-terms.ts';
import type { MeterTerms } from './meter-terms.ts';
import type { Catalogue } from './price-book.ts';
import type { Auth, WireFamily } from './wires.ts';

/**
 * The configuration after parsing: every default filled in, every secret expanded, every reference resolved. What the
 * YAML may say is in schema.ts; this is what the rest of Weir reads. Immutable; a reload makes a new one.
 */
export interface Config {
  /** SHA-256 of the canonical contents: two configurations with the same version mean the same. */
  version: string;
  gateway: GatewaySettings;
  billing: BillingSettings;
  telemetry: TelemetrySettings;
  upstreams: ReadonlyMap<string, UpstreamConfig>;
  routes: readonly RouteRule[];
  halts: readonly Halt[];
  customers: readonly CustomerConfig[];
  meters: readonly MeterConfig[];
  plans: readonly PlanConfig[];
  priceBook: Catalogue;
}

/** Every bound of the request path, with its default in bounds.ts. Bytes and milliseconds. */
export interface GatewaySettings {
  host: string;
  port: number;
  bodyBytesMax: number;
  headerBytesMax: number;
  bodyTimeoutMs: number;
  connectTimeoutMs: number;
  /** Until the upstream's response head. */
  headersTimeoutMs: number;
  /** Between two chunks of an answer. */
  idleTimeoutMs: number;
  /** A whole call, streams included. */
  callTimeoutMs: number;
  callsMax: number;
  /** Attempts beyond the first, over retries and fallbacks together. */
  retriesMax: number;
  onDisconnect: 'drain' | 'cancel';
  drainsMax: number;
  drainTimeoutMs: number;
  /** SIGTERM: how long open streams may finish. */
  shutdownTimeoutMs: number;
  /** How long a call waits for the store of the limits. */
  storeTimeoutMs: number;
  /** How long what a call holds outlives a gateway that died. */
  holdLeaseMs: number;
  upstreamConnectionsMax: number;
  /** What a call without a maximum may answer, in tokens, where the catalogue knows none for its model either. */
  outputTokensMax: number;
  socketsMax: number;
  socketFrameBytesMax: number;
  socketTimeoutMs: number;
  socketIdleTimeoutMs: number;
  journal: {
    fsync: 'always' | 'interval' | 'never';
    fsyncIntervalMs: number;
    bytesMax: number;
    segmentBytesMax: number;
  };
  /** Answer an exhausted budget with 402 in every dialect instead of the dialect's own status. */
  budgetStatus402: boolean;
  /** Lower the most that a call may answer to what its limits have left, instead of refusing it. */
  clampOutput: boolean;
  /** Tell callers on every answer where they stand. */
  limitHeaders: boolean;
}

export interface BillingSettings {
  host: string;
  port: number;
  /** Where a gateway without Redis posts its events and reads its policies; null for the billing role of this machine. */
  url: string | null;
}

export interface TelemetrySettings {
  /** OTLP/HTTP base address; null for none. */
  otlpEndpoint: string | null;
  logLevel: 'debug' | 'info' | 'warn' | 'error';
}

export interface UpstreamConfig {
  name: string;
  /**
   * Where it speaks each family of wires: what its SDK takes as base address (`https://api.openai.com/v1`,
   * `https://api.anthropic.com`), without a trailing slash.
   */
  addresses: Readonly<Partial<Record<WireFamily, string>>>;
  /** Where its credential is put; null for where the family has it. */
  auth: Auth | null;
  /** Whose prices and models apply; `null` for a server of one's own. */
  provider: string | null;
  /** Where its models run, for prices that hang on it; null where nothing says so. */
  region: string | null;
  credential: string | null;
  /** Extra request headers. */
  headers: Readonly<Record<string, string>>;
  /** Models that it serves (patterns); null for what the catalogue lists for its provider. */
  models: readonly string[] | null;
  /** False for servers that reject `stream_options`: their streams are metered by estimate where they send no usage. */
  includeUsage: boolean;
  /** Lets `/u/{upstream}/…` reach what no wire knows: as calls that are marked as unpriced. */
  passthrough: boolean;
  /** Of an agent: what it says of its own work, beside what every call of it is metered in. */
  units: readonly UnitSource[];
}

export interface UnitSource {
  readonly unit: Unit;
  readonly from: 'header' | 'json' | 'event';
  /** The header's name in lower case, or the path of the value. */
  readonly at: string;
  /** The most that one call comes to: what a budget holds. */
  readonly max: bigint;
}

/** First match wins. A weight of 0 is never chosen first. Fallbacks are tried in order after the chosen one. */
export interface RouteRule {
  model: string;
  to: readonly { upstream: string; weight: number; model: string | null }[];
  fallback: readonly { upstream: string; model: string | null }[];
}

export interface CustomerConfig {
  id: string;
  name: string;
  timezone: string;
  currency: string;
  plan: string | null;
  limits: readonly LimitPolicy[];
  keys: readonly KeyPolicy[];
}

/** A meter as code. A change makes a new version of it in billing. */
export interface MeterConfig {
  id: string;
  name: string;
  terms: MeterTerms;
}

/** A plan as code. A change makes a new version of the plan in billing. Amounts are decimal text. */
export interface PlanConfig {
  id: string;
  name: string;
  currency: string;
  interval: 'month';
  /** Recurring amount per interval, billed in arrears with the usage; null for none. */
  fee: string | null;
  prices: readonly PlanPrice[];
  /** After the prices. */
  charges: readonly ChargeTerms[];
}

/** `amount` for every `per` units of the unit, on calls whose model matches. First match wins; what matches none is unrated and reported. */
export interface PlanPrice {
  unit: string;
  /** Pattern over the model asked for; `*` for all. */
  model: string;
  amount: string;
  per: string;
}
