import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { UsageEvent } from '#core/usage-event.ts';
import { createTestDatabase, type TestDatabase } from '../servers/postgres.ts';
import { redisUrl, removeNamespace, testNamespace } from '../servers/redis.ts';
import { freePort } from '../servers/server.ts';
import { startWeir, type WeirProcess } from '../support/weir-process.ts';

/**
 * Weir as operators run it, in processes of its own: a billing role and one or more gateways, either embedded (memory,
 * journal, PGlite) or shared (Redis, Postgres). Each role can be killed and started again on the same data.
 */
export interface Deployment {
  gatewayUrls: readonly string[];
  billingUrl: string;
  secret: string;
  /** The process of a role that runs: `billing`, `gateway-0`. */
  process(name: string): WeirProcess;
  /** The prefix of all keys in Redis. */
  namespace: string;
  folder: string;
  /** What the configuration file of a role says, such as `gateway-0`: to be written anew, with something changed. */
  configText(name: string): string;
  killGateway(index: number): Promise<void>;
  startGateway(index: number): Promise<void>;
  /** Of a gateway that does not run: it starts as on a new machine. */
  emptyGateway(index: number): Promise<void>;
  killBilling(): Promise<void>;
  startBilling(): Promise<void>;
  /** GET on the billing API as admin. */
  get<T>(pathAndQuery: string): Promise<T>;
  post<T>(pathAndQuery: string, body: object): Promise<T>;
  /** Every usage event that billing holds. */
  events(): Promise<UsageEvent[]>;
  output(): string;
  stop(): Promise<void>;
}

export const CUSTOMER = 'acme';
export const KEY = 'acme-prod';
const SECRET = 'wr_test_scenario';
const ADMIN_TOKEN = 'wr_api_scenario_admin_token';
const PAGE = 200;

export interface DeploymentOptions {
  kind: 'embedded' | 'shared';
  upstreamUrl: string;
  gateways?: number;
  /** YAML flow list, e.g. `[{ budget: 1 USD, per: month, mode: hard }]` */
  limits?: string;
  /** Settings of the gateway in YAML, e.g. `idle_timeout: 1s` */
  gateway?: string;
  /** Further customers and upstreams in YAML, indented by two. */
  customers?: string;
  upstreams?: string;
  /** Further sections in YAML, e.g. `routes: […]` */
  sections?: string;
  /** Servers of one's own, to be taken away, instead of the shared ones. */
  stores?: { databaseUrl: string; redisUrl: string };
  /** Started by the test, in an order of its own. */
  waits?: boolean;
}

export async function deploy(options: DeploymentOptions): Promise<Deployment> {
  const folder = await mkdtemp(path.join(tmpdir(), 'weir-scenario-'));
  const database: TestDatabase | undefined =
    options.kind === 'shared' && !options.stores ? await createTestDatabase() : undefined;
  const namespace = testNamespace();
  const ports = await Promise.all(Array.from({ length: (options.gateways ?? 1) + 1 }, () => freePort()));
  const [billingPort, ...gatewayPorts] = ports as [number, ...number[]];
  const billingUrl = `http://127.0.0.1:${billingPort}`;
  const stores: Record<string, string> = database
    ? { DATABASE_URL: database.url, REDIS_URL: redisUrl(), WEIR_NAMESPACE: namespace }
    : options.stores
      ? { DATABASE_URL: options.stores.databaseUrl, REDIS_URL: options.stores.redisUrl, WEIR_NAMESPACE: namespace }
      : {};

  const processes = new Map<string, WeirProcess>();
  let printed = '';
  const start = async (name: string, port: number): Promise<void> => {
    const config = path.join(folder, `${name}.yaml`);
    await writeFile(config, configText(options, billingPort, port));
    const role = name === 'billing' ? 'billing' : 'gateway';
    const process = await startWeir(role, {
      ...stores,
      WEIR_CONFIG: config,
      WEIR_DATA_DIR: path.join(folder, name),
      WEIR_ADMIN_TOKEN: ADMIN_TOKEN,
    });
    processes.set(name, process);
  };
  const kill = async (name: string): Promise<void> => {
    const process = processes.get(name);
    processes.delete(name);
    printed += process?.output() ?? '';
    await process?.kill();
  };
  const request = async <T>(method: string, pathAndQuery: string, body?: object): Promise<T> => {
    const response = await fetch(`${billingUrl}${pathAndQuery}`, {
      method,
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': 'application/json' },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    if (!response.ok) throw new Error(`${method} ${pathAndQuery}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };

  if (!options.waits) {
    await start('billing', billingPort);
    await Promise.all(gatewayPorts.map((port, index) => start(`gateway-${index}`, port)));
  }

  const get = <T>(pathAndQuery: string): Promise<T> => request<T>('GET', pathAndQuery);
  return {
    gatewayUrls: gatewayPorts.map((port) => `http://127.0.0.1:${port}`),
    billingUrl,
    secret: SECRET,
    process: (name) => {
      const process = processes.get(name);
      if (!process) throw new Error(`${name} does not run`);
      return process;
    },
    namespace,
    folder,
    configText: (name) => {
      const index = name === 'billing' ? -1 : Number(name.slice('gateway-'.length));
      return configText(options, billingPort, index < 0 ? billingPort : (gatewayPorts[index] as number));
    },
    killGateway: (index) => kill(`gateway-${index}`),
    startGateway: (index) => start(`gateway-${index}`, gatewayPorts[index] as number),
    emptyGateway: (index) => rm(path.join(folder, `gateway-${index}`), { recursive: true, force: true }),
    killBilling: () => kill('billing'),
    startBilling: () => start('billing', billingPort),
    get,
    post: (pathAndQuery, body) => request('POST', pathAndQuery, body),
    events: async () => {
      const events: UsageEvent[] = [];
      let cursor: string | null = null;
      do {
        const query = `limit=${PAGE}${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
        const page: { data: { event: UsageEvent }[]; next_cursor: string | null } = await get(`/v1/events?${query}`);
        events.push(...page.data.map((row) => row.event));
        cursor = page.next_cursor;
      } while (cursor !== null);
      return events;
    },
    output: () => printed + [...processes.values()].map((process) => process.output()).join('\n'),
    stop: async () => {
      await Promise.all([...processes.values()].map((process) => process.kill()));
      await database?.drop();
      if (database) await removeNamespace(namespace);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function configText(options: DeploymentOptions, billingPort: number, gatewayPort: number): string {
  const hash = createHash('sha256').update(SECRET).digest('hex');
  return `
gateway: { host: 127.0.0.1, port: ${gatewayPort}${options.gateway ? `, ${options.gateway}` : ''} }
billing: { host: 127.0.0.1, port: ${billingPort}, url: "http://127.0.0.1:${billingPort}" }
telemetry: { log_level: warn }
upstreams:
  stub: { wire: openai, provider: openai, base_url: "${options.upstreamUrl}" }
${options.upstreams ?? ''}
customers:
  ${CUSTOMER}:
    name: Acme Inc
    timezone: UTC
    plan: scenario
    limits: ${options.limits ?? '[{ budget: 1000 USD, per: month, mode: hard }]'}
    keys:
      ${KEY}: { secret: "sha256:${hash}" }
${options.customers ?? ''}
${options.sections ?? ''}
plans:
  scenario:
    name: Scenario
    currency: USD
    prices:
      - { unit: calls, amount: 0.01, per: 1 }
      - { unit: input_tokens, amount: 3, per: 1M }
      - { unit: output_tokens, amount: 12, per: 1M }
`;
}
