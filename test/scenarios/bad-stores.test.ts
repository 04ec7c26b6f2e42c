import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Stub, sha256, startStub } from '../gateway/harness.ts';
import { createTestDatabase, startPostgres } from '../servers/postgres.ts';
import { startRedis } from '../servers/redis.ts';
import type { TestServer } from '../servers/server.ts';
import { type Deployment, deploy } from './deployment.ts';
import { until } from './until.ts';

const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const WORD = 'data: {"id":"1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"12345678"}}]}\n\n';
const LAST = `data: {"id":"1","model":"gpt-4o","choices":[],"usage":${JSON.stringify(USAGE)}}\n\ndata: [DONE]\n\n`;
const WHOLE = JSON.stringify({ model: 'gpt-4o', choices: [{ message: { content: 'Hi' } }], usage: USAGE });
const FREE = 'wr_test_no_limit';

/** A gateway and a billing role on a Redis and a PostgreSQL that go away and come back. */
describe('while a store is away', { timeout: 90_000 }, () => {
  let redis: TestServer;
  let postgres: TestServer;
  let stub: Stub;
  let weir: Deployment;
  let endStreams: (() => void)[] = [];
  const served: string[] = [];

  beforeAll(async () => {
    [redis, postgres] = await Promise.all([startRedis({ durable: true }), startPostgres()]);
    stub = await startStub((response, { body }) => {
      if (!JSON.parse(body).stream) {
        response.writeHead(200, { 'content-type': 'application/json' }).end(WHOLE);
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(WORD);
      endStreams.push(() => response.end(LAST));
    });
    weir = await deploy({
      kind: 'shared',
      waits: true,
      upstreamUrl: stub.url,
      stores: { databaseUrl: (await createTestDatabase(postgres.url)).url, redisUrl: redis.url },
      limits: '[{ budget: 1 USD, per: month, mode: hard }]',
      customers: `  free:
    name: Without a limit
    keys:
      free-prod: { secret: "sha256:${sha256(FREE)}" }`,
    });
  }, 120_000);

  afterEach(() => {
    endStreams = [];
  });

  afterAll(async () => {
    await weir?.stop();
    await stub?.[Symbol.asyncDispose]();
    await Promise.all([redis?.stop(), postgres?.stop()]);
  });

  async function send(secret: string, changes: object = {}, headers: Record<string, string> = {}): Promise<Response> {
    const response = await fetch(`${weir.gatewayUrls[0]}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({
        model: 'gpt-4o',
        max_tokens: 100,
        messages: [{ role: 'user', content: 'Hi' }],
        ...changes,
      }),
    });
    if (response.status === 200) served.push(response.headers.get('x-request-id') ?? '');
    return response;
  }

  async function codeOf(response: Response): Promise<string> {
    return ((await response.json()) as { error: { code: string } }).error.code;
  }

  async function readiness(url: string): Promise<number> {
    return (await fetch(`${url}/readyz`)).status;
  }

  /** Billing has one event for each call that was served, and the limits hold nothing any more. */
  async function allIsWell(): Promise<void> {
    let found: string[] = [];
    await until(
      async () => {
        found = (await weir.events().catch(() => [])).map(({ id }) => id);
        return found.length >= served.length;
      },
      'all events',
      () => `${found.length} of ${served.length}`,
    );
    expect(found.sort()).toEqual([...served].sort());
    await until(async () => {
      // All of it or nothing: else what is left of the budget would be served.
      const refused = await send(weir.secret, { n: 100, max_tokens: 16_000 }, { 'x-weir-clamp': 'off' });
      const { error } = (await refused.json()) as { error: { weir: { code: string; reserved: string } } };
      return error.weir.code === 'budget_exhausted' && Number(error.weir.reserved) === 0;
    }, 'nothing to be held');
  }

  it('Redis, from the start on: keys with limits are refused, others served, and all recovers by itself', async () => {
    const { secret } = weir;
    const gatewayUrl = weir.gatewayUrls[0] as string;
    await redis.kill();
    await weir.startBilling();
    await weir.startGateway(0);
    const refused = await send(secret);
    expect([refused.status, await codeOf(refused)]).toEqual([503, 'limits_unavailable']);
    expect((await send(FREE)).status).toBe(200);
    expect(await readiness(gatewayUrl)).toBe(503);
    await redis.restart();
    await until(async () => (await send(secret)).status === 200, 'the key with a limit to be served');
    expect(await readiness(gatewayUrl)).toBe(200);
    await allIsWell();
  });

  it('Redis, in the middle of a stream: the client gets its answer, and billing its event', async () => {
    const stream = await send(weir.secret, { stream: true });
    await until(() => endStreams.length === 1, 'the stream');
    await redis.kill();
    endStreams[0]?.();
    expect(await stream.text()).toContain('[DONE]');
    const refused = await send(weir.secret);
    expect([refused.status, await codeOf(refused)]).toEqual([503, 'limits_unavailable']);
    await redis.restart();
    await allIsWell();
  });

  it('the database, in flight: calls go on, billing says what is wrong, and all recovers by itself', async () => {
    await postgres.kill('SIGQUIT');
    for (let i = 0; i < 5; i++) expect((await send(weir.secret)).status).toBe(200);
    const answer = await fetch(`${weir.billingUrl}/v1/events`, {
      headers: { authorization: 'Bearer wr_api_scenario_admin_token' },
    });
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([503, 'database_unavailable']);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(await readiness(weir.billingUrl)).toBe(503);
    await postgres.restart();
    await allIsWell();
  });

  it('both, and told to end: each role ends with 0, and nothing of it is lost', async () => {
    await postgres.kill('SIGQUIT');
    expect((await send(weir.secret)).status).toBe(200);
    const stream = await send(weir.secret, { stream: true });
    await until(() => endStreams.length === 1, 'the stream');
    await redis.kill();
    endStreams[0]?.();
    expect(await stream.text()).toContain('[DONE]');
    const ends = [weir.process('gateway-0').terminate(), weir.process('billing').terminate()];
    expect(await Promise.all(ends)).toEqual([0, 0]);
    await Promise.all([redis.restart(), postgres.restart()]);
    await Promise.all([weir.startBilling(), weir.startGateway(0)]);
    await allIsWell();
  });
});
