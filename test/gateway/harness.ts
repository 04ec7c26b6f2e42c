import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, vi } from 'vitest';
import type { Config, GatewaySettings, UpstreamConfig } from '#config/config.ts';
import { builtinPriceBook } from '#config/price-book.ts';
import type { Fault } from '#core/fault.ts';
import type { KeyPolicy, LimitPolicy } from '#core/key-policy.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { Gateway } from '#proxy/gateway.ts';
import type { GatewayParts } from '#proxy/gateway-parts.ts';
import { type Listener, listen } from '#proxy/inbound/node.ts';
import type { CounterBook, Counters, Reservation } from '#proxy/limits/counters.ts';
import { memoryCounters } from '#proxy/limits/memory.ts';
import type { Observer } from '#proxy/observer.ts';
import type { Closing, Opening, Sink } from '#proxy/sink/sink.ts';
import { nodeDialer } from '#proxy/upstream/socket-node.ts';
import { undiciUpstream } from '#proxy/upstream/undici.ts';

/** A whole gateway on a free port, over memory counters and a sink that only remembers, for tests of the request path. */

export const SECRET = 'wr_test_secret';
export const CUSTOMER = 'acme';

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export const SETTINGS: GatewaySettings = {
  host: '127.0.0.1',
  port: 0,
  bodyBytesMax: 1 << 20,
  headerBytesMax: 16_384,
  bodyTimeoutMs: 5_000,
  connectTimeoutMs: 1_000,
  headersTimeoutMs: 5_000,
  idleTimeoutMs: 5_000,
  callTimeoutMs: 20_000,
  callsMax: 1_000,
  retriesMax: 0,
  onDisconnect: 'drain',
  drainsMax: 100,
  drainTimeoutMs: 5_000,
  shutdownTimeoutMs: 5_000,
  upstreamConnectionsMax: 100,
  outputTokensMax: 4_096,
  socketsMax: 100,
  socketFrameBytesMax: 1 << 20,
  socketTimeoutMs: 60_000,
  socketIdleTimeoutMs: 60_000,
  journal: { fsync: 'never', fsyncIntervalMs: 50, bytesMax: 1 << 30, segmentBytesMax: 1 << 26 },
  budgetStatus402: false,
  clampOutput: true,
  limitHeaders: true,
  holdLeaseMs: 60_000,
  storeTimeoutMs: 1_000,
};

export function upstreamConfig(name: string, baseUrl: string, changes: Partial<UpstreamConfig> = {}): UpstreamConfig {
  return {
    name,
    addresses: { openai: baseUrl },
    auth: null,
    provider: 'openai',
    region: null,
    credential: 'sk-upstream',
    headers: {},
    models: null,
    includeUsage: true,
    passthrough: false,
    units: [],
    ...changes,
  };
}

export function configOf(
  upstreams: readonly UpstreamConfig[],
  changes: { gateway?: Partial<GatewaySettings> } & Partial<Pick<Config, 'routes' | 'halts' | 'priceBook'>> = {},
): Config {
  return {
    version: 'test',
    gateway: { ...SETTINGS, ...changes.gateway },
    billing: { host: '127.0.0.1', port: 0, url: null },
    telemetry: { otlpEndpoint: null, logLevel: 'error' },
    upstreams: new Map(upstreams.map((upstream) => [upstream.name, upstream])),
    routes: changes.routes ?? [],
    halts: changes.halts ?? [],
    customers: [],
    meters: [],
    plans: [],
    priceBook: changes.priceBook ?? builtinPriceBook(),
  };
}

export function keyPolicy(changes: Partial<KeyPolicy> = {}): KeyPolicy {
  return {
    version: 1,
    key: 'key_test',
    customer: CUSTOMER,
    secretHashes: [sha256(SECRET)],
    state: 'active',
    expiresAtMs: null,
    models: [],
    labels: {},
    limits: [],
    ...changes,
  };
}

export const OTHER = 'wr_test_other';

/** Another customer, who has the secret `OTHER`: what is kept for the first is no business of theirs. */
export function otherPolicy(): KeyPolicy {
  return keyPolicy({ key: 'key_other', customer: 'other', secretHashes: [sha256(OTHER)] });
}

export function limitPolicy(changes: Partial<LimitPolicy> & Pick<LimitPolicy, 'kind' | 'amount'>): LimitPolicy {
  return { id: changes.kind, scope: 'customer', currency: null, per: null, burst: null, timezone: 'UTC', ...changes };
}

/** Remembers every opening and closing and settles at once: what a journal does, without the disk. */
export class MemorySink implements Sink {
  readonly opened: Opening[] = [];
  readonly closed: Closing[] = [];
  readonly abandoned: Opening[] = [];
  /** Set to make the next openings fail. */
  openFault: Fault | undefined;
  readonly #counters: Counters;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  async open(opening: Opening): Promise<void> {
    if (this.openFault) throw this.openFault;
    this.opened.push(opening);
  }

  async close(closing: Closing): Promise<void> {
    this.closed.push(closing);
    await this.#counters.settle(closing.reservation, closing.used);
  }

  async abandon(opening: Opening): Promise<void> {
    this.abandoned.push(opening);
    await this.#counters.release(opening.reservation);
  }

  async drain(): Promise<void> {}

  get events(): UsageEvent[] {
    return this.closed.map(({ event }) => event);
  }
}

export class MemoryObserver implements Observer {
  readonly faults: Fault[] = [];
  readonly refused: string[] = [];
  started = 0;
  ended = 0;

  callStarted(): void {
    this.started++;
  }
  callEnded(): void {
    this.ended++;
  }
  callRefused(_call: unknown, { code }: { code: string }): void {
    this.refused.push(code);
  }
  faulted(fault: Fault): void {
    this.faults.push(fault);
  }
}

export interface TestGateway extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly listener: Listener;
  readonly url: string;
  readonly sink: MemorySink;
  readonly counters: ReturnType<typeof memoryCounters>;
  readonly observer: MemoryObserver;
}

export async function startGateway(
  config: Config,
  policies: readonly KeyPolicy[] = [keyPolicy()],
  changes: Partial<GatewayParts> = {},
): Promise<TestGateway> {
  const counters = memoryCounters({ clock: Date.now });
  const sink = new MemorySink(changes.counters ?? counters);
  const observer = new MemoryObserver();
  const upstream = undiciUpstream();
  const byHash = new Map(policies.flatMap((policy) => policy.secretHashes.map((hash) => [hash, policy] as const)));
  const gateway = new Gateway({
    config,
    policies: { find: (hash) => byHash.get(hash) },
    counters,
    sink,
    upstream,
    dialer: nodeDialer(),
    observer,
    hash: sha256,
    ready: () => true,
    clock: Date.now,
    random: () => 0,
    ...changes,
  });
  const listener = await listen(gateway, config.gateway);
  return {
    gateway,
    listener,
    url: `http://127.0.0.1:${listener.port}`,
    sink,
    counters,
    observer,
    async [Symbol.asyncDispose]() {
      await gateway.drain(0);
      await listener.close();
      await upstream.close();
    },
  };
}

/** An upstream on a free port that answers as a test says, and remembers what it was asked. */
export interface Stub extends AsyncDisposable {
  readonly url: string;
  readonly requests: StubRequest[];
}

export interface StubRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export type StubAnswer = (response: ServerResponse, request: StubRequest, nth: number) => void;

export async function startStub(answer: StubAnswer): Promise<Stub> {
  const requests: StubRequest[] = [];
  const onRequest: RequestListener = async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method = '', url = '', headers } = request;
    const seen = { method, url, headers, body: Buffer.concat(chunks).toString() };
    requests.push(seen);
    answer(response, seen, requests.length - 1);
  };
  const server = createServer({ noDelay: true }, onRequest);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** The events, once there are so many. */
export async function eventsOf({ sink }: TestGateway, count: number): Promise<UsageEvent[]> {
  await vi.waitFor(() => expect(sink.events.length).toBe(count), { interval: 2, timeout: 10_000 });
  return sink.events;
}

/** Every hold of a settled or released reservation is gone. */
export async function heldBy(counters: CounterBook, reservation: Reservation): Promise<bigint> {
  let held = 0n;
  for (const { counter } of reservation.holds) held += (await counters.read(reservation.customer, counter)).held;
  return held;
}
