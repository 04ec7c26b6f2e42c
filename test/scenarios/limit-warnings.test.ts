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

interface Warnings {
  data: { limit: string; percent: string; threshold: string; amount: string; customer: string }[];
}

describe.each(['embedded', 'shared'] as const)('%s, a limit with warn_at', (kind) => {
  it('tells billing each threshold once, over a restart too, beside the usage', { timeout: 120_000 }, async () => {
    upstream = await startNumberedUpstream();
    deployment = await deploy({
      kind,
      upstreamUrl: upstream.url,
      limits: '[{ requests: 10, per: day, warn_at: [50%, 90%] }]',
    });
    const weir = deployment;
    let number = 0;
    const call = async (): Promise<void> => {
      const gatewayUrl = weir.gatewayUrls[0] as string;
      const answer = await callOnce({ gatewayUrl, secret: weir.secret, number: number++ });
      expect(answer).toEqual({ end: 'answered', code: null });
    };
    const warnings = async () => (await weir.get<Warnings>(`/v1/limit-warnings?customer=${CUSTOMER}`)).data;
    for (let i = 0; i < 6; i++) await call();
    await until(async () => (await warnings()).length === 1, 'the first threshold to be told');
    expect(await warnings()).toMatchObject([{ customer: CUSTOMER, percent: '50', threshold: '5', amount: '10' }]);
    await weir.killGateway(0);
    await weir.startGateway(0);
    for (let i = 0; i < 4; i++) await call();
    await until(async () => (await warnings()).length === 2, 'the second threshold to be told');
    expect((await warnings()).map(({ percent }) => percent)).toEqual(['90', '50']);
    await until(async () => (await weir.events()).length === 12, 'ten calls and two warnings to arrive');
    expect(await weir.get('/v1/events/parked')).toMatchObject({ data: [] });
    expect(await weir.get('/v1/events/conflicts')).toMatchObject({ data: [] });
  });
});
