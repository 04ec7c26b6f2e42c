import type { Config } from '#config/config.ts';
import { ENVIRONMENT_NAMES, type EnvironmentVariables } from '#config/environment.ts';
import { sha256Hex } from '#config/hash.ts';
import { configFault, getConfig, parseConfig } from '#config/load.ts';
import { Fault, faultOf } from '#core/fault.ts';
import { Gateway } from '#proxy/gateway.ts';
import { answerFetch } from '#proxy/inbound/fetch.ts';
import {
  type CustomerCountersEnv,
  type CustomerCountersNamespace,
  CustomerCounters as CustomerObject,
  durableObjectCounters,
} from '#proxy/limits/durable-object.ts';
import { pullPolicies } from '#proxy/policies/http-pull.ts';
import { type PolicyTable, policyTable } from '#proxy/policies/policy-table.ts';
import { dialectOfCall } from '#proxy/routes.ts';
import { consumeEvents, type QueueBatch, queueSink, type UnsettledCall } from '#proxy/sink/queue.ts';
import { fetchUpstream } from '#proxy/upstream/fetch.ts';
import { workerLog, workerObserver } from './worker-log.ts';

/** The gateway on Cloudflare Workers. What is bound here stands in wrangler.toml; docs/workers.md says what survives what. */
interface Bindings extends CustomerCountersEnv {
  CUSTOMERS: CustomerCountersNamespace;
  EVENTS: CustomerCountersEnv['EVENTS'] & { send(message: UnsettledCall): Promise<unknown> };
  /** Holds the configuration file. */
  CONFIG: { get(key: string): Promise<string | null> };
}

/** The bindings, and beside them the variables and secrets by their own names. */
type Env = Bindings & Readonly<Record<string, unknown>>;

interface Lifetime {
  waitUntil(work: Promise<unknown>): void;
}

/** The runtime makes the object; it keeps the customer's limits, and events on their way to the queue. */
export class CustomerCounters extends CustomerObject {
  protected override readonly log = log;
}

const CONFIG_KEY = 'weir.yaml';
/** How long a change of the configuration, or of a key in billing, may take to be seen. */
const REFRESH_MS = 30_000;
const HASHES_MAX = 10_000;

const log = workerLog();
const hashes = new Map<string, string>();

interface Running {
  gateway: Gateway;
  table: PolicyTable;
  config: Config;
  text: string;
  /** Of billing's policies. */
  version: string | undefined;
  refreshedMs: number;
}

/** Of this isolate. There are many, and each lives as long as Cloudflare likes. */
let running: Running | undefined;

async function start(env: Env): Promise<Running> {
  const text = await readConfig(env);
  const config = await getConfig(text, { env: variablesOf(env), file: CONFIG_KEY });
  const table = policyTable();
  table.replace('config', policiesOf(config));
  const version = await pull(env, config, table, undefined);
  const gateway = new Gateway({
    config,
    policies: table,
    counters: durableObjectCounters(env.CUSTOMERS),
    sink: queueSink({ customers: env.CUSTOMERS, queue: env.EVENTS, log }),
    upstream: fetchUpstream(),
    observer: workerObserver(log),
    hash,
    ready: () => true,
    clock: Date.now,
    random: Math.random,
  });
  gateway.killSwitch.follow(table);
  // Two calls may come at once to a new isolate: each starts one, and the later one stays.
  running = { gateway, table, config, text, version, refreshedMs: Date.now() };
  return running;
}

/** A configuration with mistakes changes nothing. */
async function refresh(env: Env, current: Running): Promise<void> {
  current.refreshedMs = Date.now();
  try {
    const text = await readConfig(env);
    if (text !== current.text) {
      const result = await parseConfig(text, { env: variablesOf(env) });
      if ('problems' in result) throw configFault(result.problems, CONFIG_KEY);
      current.text = text;
      current.config = result.config;
      current.table.replace('config', policiesOf(result.config));
      current.gateway.use(result.config);
    }
  } catch (error) {
    log.error({ err: error }, 'The configuration cannot be taken; keeping the last.');
  }
  current.version = await pull(env, current.config, current.table, current.version);
}

async function pull(
  env: Env,
  config: Config,
  table: PolicyTable,
  version: string | undefined,
): Promise<string | undefined> {
  const billing = billingOf(env, config);
  return billing && pullPolicies({ ...billing, table, fetch, log }, version);
}

function billingOf(env: Env, { billing }: Config): { url: string; token: string } | undefined {
  const token = env[ENVIRONMENT_NAMES.billingToken];
  return billing.url !== null && typeof token === 'string' ? { url: billing.url, token } : undefined;
}

async function readConfig(env: Env): Promise<string> {
  const text = await env.CONFIG.get(CONFIG_KEY);
  if (text === null) throw new Fault('config_invalid', { story: `there is no ${CONFIG_KEY} in the namespace CONFIG` });
  return text;
}

function variablesOf(env: Env): EnvironmentVariables {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function policiesOf({ customers }: Config) {
  return customers.flatMap((customer) => customer.keys);
}

/** Remembered, since a key calls again and again. */
async function hash(secret: string): Promise<string> {
  let known = hashes.get(secret);
  if (known === undefined) {
    known = await sha256Hex(secret);
    if (hashes.size >= HASHES_MAX) hashes.clear();
    hashes.set(secret, known);
  }
  return known;
}

function callHeadOf(request: Request) {
  return { path: new URL(request.url).pathname, headers: Object.fromEntries(request.headers) };
}

export default {
  async fetch(request: Request, env: Env, lifetime: Lifetime): Promise<Response> {
    let current: Running;
    try {
      current = running ?? (await start(env));
    } catch (thrown) {
      const fault = faultOf(thrown);
      log.error({ err: fault }, 'The worker cannot start.');
      // What is wrong with the configuration is the operator's business, not the caller's.
      const { status, body } = dialectOfCall(callHeadOf(request)).fault(new Fault('internal', { cause: fault }), null);
      return new Response(body as BodyInit, { status, headers: { 'content-type': 'application/json' } });
    }
    if (Date.now() - current.refreshedMs >= REFRESH_MS) lifetime.waitUntil(refresh(env, current));
    return answerFetch(current.gateway, request, (work) => lifetime.waitUntil(work));
  },

  /** Events on their way to billing. */
  async queue(batch: QueueBatch, env: Env): Promise<void> {
    const { config } = running ?? (await start(env));
    const billing = billingOf(env, config);
    if (!billing) throw new Error('events have nowhere to go: billing.url or WEIR_BILLING_TOKEN is missing');
    await consumeEvents(batch, { customers: env.CUSTOMERS, billing, fetch, log });
  },
};
