import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Stub, startStub } from '../gateway/harness.ts';
import { CUSTOMER, type Deployment, deploy } from './deployment.ts';
import { until } from './until.ts';

/** A second is the promise, of which a quiet machine uses a tenth; one that runs all tests at once may be slower. */
const PROMISE_MS = 3_000;
const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };

let stub: Stub | undefined;
let weir: Deployment | undefined;

afterEach(async () => {
  await weir?.stop();
  await stub?.[Symbol.asyncDispose]();
});

/** Answers at once, and begins streams that never end. */
function startUpstream(): Promise<Stub> {
  return startStub((response, { body }) => {
    const isStream = body.includes('"stream":true');
    response.setHeader('content-type', isStream ? 'text/event-stream' : 'application/json');
    if (isStream) response.write(`data: ${JSON.stringify({ choices: [{ delta: { content: 'Hello' } }] })}\n\n`);
    else response.end(JSON.stringify({ choices: [{ message: { content: 'Hi' } }], usage: USAGE }));
  });
}

function call(gatewayUrl: string, secret: string, stream = false): Promise<Response> {
  return fetch(`${gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'gpt-4o', max_tokens: 50, stream, messages: [{ role: 'user', content: 'Hi' }] }),
  });
}

/** The code of the refusal, `served` for an answer. */
async function outcomeOf(gatewayUrl: string, secret: string): Promise<string> {
  const response = await call(gatewayUrl, secret);
  const body = (await response.json()) as { error?: { weir: { code: string } } };
  return body.error?.weir.code ?? 'served';
}

/** Switches something on one stream per gateway and any number of calls; gives how long the slowest gateway took. */
async function timeOf(
  deployment: Deployment,
  secret: string,
  turn: () => Promise<unknown>,
  wanted: string,
): Promise<number> {
  await turn();
  const sinceMs = performance.now();
  await Promise.all(
    deployment.gatewayUrls.map((url) =>
      until(async () => (await outcomeOf(url, secret)) === wanted, `${wanted} from every gateway`),
    ),
  );
  return performance.now() - sinceMs;
}

describe.each([
  { kind: 'embedded', gateways: 1, where: 'over HTTP' },
  { kind: 'shared', gateways: 3, where: 'on three gateways through Redis' },
] as const)('what an operator switches off in billing, $where', ({ kind, gateways }) => {
  it('is off within a second everywhere, open streams included where that is asked', { timeout: 120_000 }, async () => {
    stub = await startUpstream();
    weir = await deploy({ kind, gateways, upstreamUrl: stub.url, limits: '[]' });
    const deployment = weir;
    const { secret } = await deployment.post<{ secret: string }>('/v1/keys', {
      id: 'switched',
      customer: CUSTOMER,
      name: 'Switched',
    });
    const times: Record<string, number> = {};
    const turn = async (name: string, route: string, body: object, wanted: string): Promise<void> => {
      times[name] = await timeOf(deployment, secret, () => deployment.post(route, body), wanted);
    };
    /** A stream on every gateway; resolves with what each of them came to once they have ended. */
    const openStreams = async (): Promise<Promise<string[]>[]> => {
      const responses = await Promise.all(deployment.gatewayUrls.map((url) => call(url, secret, true)));
      return [Promise.all(responses.map((response) => response.text()))];
    };

    await turn('a new key', `/v1/customers/${CUSTOMER}/resume`, {}, 'served');
    await turn('pause', `/v1/customers/${CUSTOMER}/pause`, {}, 'customer_paused');
    await turn('resume', `/v1/customers/${CUSTOMER}/resume`, {}, 'served');
    for (const [name, route, body, code, back] of [
      ['upstream', '/v1/halts', { upstream: 'stub', cut_open: true }, 'model_halted', true],
      ['model', '/v1/halts', { model: 'gpt-4*', cut_open: true }, 'model_halted', true],
      ['customer', `/v1/customers/${CUSTOMER}/pause`, { cut_open: true }, 'customer_paused', true],
      ['key', '/v1/keys/switched/revoke', { cut_open: true }, 'revoked_key', false],
    ] as const) {
      const [texts] = await openStreams();
      let halt = { id: '' };
      times[name] = await timeOf(
        deployment,
        secret,
        async () => {
          halt = await deployment.post(route, body);
        },
        code,
      );
      // Each ended by itself, with the reason in it.
      for (const text of (await texts) ?? []) expect(text).toContain(`"code":"${code}"`);
      if (back)
        times[`${name} lifted`] = await timeOf(
          deployment,
          secret,
          () => deployment.post(`/v1/halts/${halt.id}/lift`, {}),
          'served',
        );
    }
    const slow = Object.entries(times).filter(([, ms]) => ms > PROMISE_MS);
    expect(slow).toEqual([]);
    // What had been cut is billed all the same, once each.
    await until(async () => {
      const cut = (await deployment.events()).filter(({ data }) => data.outcome === 'cut');
      return cut.length === 4 * gateways;
    }, 'the events of the calls that were cut');
  });
});

it('takes what the configuration switches off within a second, open streams included', {
  timeout: 60_000,
}, async () => {
  stub = await startUpstream();
  const options = { kind: 'embedded' as const, upstreamUrl: stub.url, limits: '[]', sections: '' };
  weir = await deploy(options);
  const deployment = weir;
  const [url = ''] = deployment.gatewayUrls;
  const file = path.join(deployment.folder, 'gateway-0.yaml');
  const text = deployment.configText('gateway-0');
  const stream = await call(url, deployment.secret, true);
  const rewrite = (halts: string) => () => writeFile(file, `${text}\nhalts: ${halts}\n`);
  const offMs = await timeOf(
    deployment,
    deployment.secret,
    rewrite('[{ upstream: stub, cut_open: true }]'),
    'model_halted',
  );
  expect(await stream.text()).toContain('"code":"model_halted"');
  const onMs = await timeOf(deployment, deployment.secret, rewrite('[]'), 'served');
  expect(Math.max(offMs, onMs)).toBeLessThan(PROMISE_MS);
});
