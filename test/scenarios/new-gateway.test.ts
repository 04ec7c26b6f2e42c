import { afterEach, describe, expect, it } from 'vitest';
import { callOnce } from './caller.ts';
import { CUSTOMER, type Deployment, deploy } from './deployment.ts';
import { type NumberedUpstream, startNumberedUpstream } from './numbered-upstream.ts';
import { until } from './until.ts';

let upstream: NumberedUpstream | undefined;
let deployment: Deployment | undefined;

afterEach(async () => {
  await deployment?.stop();
  await upstream?.stop();
});

describe.each(['embedded', 'shared'] as const)('%s, a gateway on a new machine', (kind) => {
  it('knows a key that was made in billing from its first call on', { timeout: 90_000 }, async () => {
    upstream = await startNumberedUpstream();
    deployment = await deploy({ kind, upstreamUrl: upstream.url, limits: '[]' });
    const weir = deployment;
    const gatewayUrl = weir.gatewayUrls[0] as string;
    const { secret } = await weir.post<{ secret: string }>('/v1/keys', { customer: CUSTOMER, name: 'made here' });
    let number = 0;
    const call = () => callOnce({ gatewayUrl, secret, number: number++ });
    await until(async () => (await call()).end === 'answered', 'the new key to reach the gateway');
    await weir.killGateway(0);
    await weir.emptyGateway(0);
    await weir.startGateway(0);
    expect(await call()).toEqual({ end: 'answered', code: null });
  });
});
