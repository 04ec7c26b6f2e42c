import { afterEach, describe, expect, it } from 'vitest';
import { callOnce } from './caller.ts';
import { type Deployment, deploy } from './deployment.ts';
import { type NumberedUpstream, startNumberedUpstream } from './numbered-upstream.ts';
import { until } from './until.ts';

let upstream: NumberedUpstream | undefined;
let deployment: Deployment | undefined;

afterEach(async () => {
  await deployment?.stop();
  await upstream?.stop();
});

/** Nanos. */
const BUDGET = 50_000_000n;
const PRICES = { call: 1_000_000n, input: 3_000n, output: 12_000n };

describe.each(['embedded', 'shared'] as const)('%s, a budget of what the customer pays, set in the API', (kind) => {
  it('takes no call before there is a plan, and then ends at the last call that fits, by the prices of the plan', {
    timeout: 120_000,
  }, async () => {
    upstream = await startNumberedUpstream();
    deployment = await deploy({ kind, upstreamUrl: upstream.url, limits: '[]' });
    const weir = deployment;
    const unit = (meter: string, amount: string, per: string) => ({
      ...{ name: meter, meter, model: '*', price: { kind: 'unit', amount, per } },
    });
    await weir.post('/v1/plans', {
      ...{ id: 'resale', name: 'Resale', currency: 'USD' },
      charges: [
        unit('calls', '0.001', '1'),
        unit('input_tokens', '3', '1000000'),
        unit('output_tokens', '12', '1000000'),
      ],
    });
    await weir.post('/v1/customers', { id: 'reseller', name: 'Reseller' });
    const { secret } = await weir.post<{ secret: string }>('/v1/keys', {
      ...{ customer: 'reseller', name: 'k' },
      limits: [{ kind: 'budget', per: 'month', basis: 'price', amount: { amount: '0.05', currency: 'USD' } }],
    });
    let number = 0;
    const gatewayUrl = weir.gatewayUrls[0] as string;
    const call = () => callOnce({ gatewayUrl, secret, number: number++ });
    await until(async () => (await call()).code === 'unpriced_model', 'the key to be known, and refused');
    await weir.post('/v1/subscriptions', { customer: 'reseller', plan: 'resale' });
    await until(async () => (await call()).end === 'answered', 'the prices to reach the gateway');
    await until(async () => (await call()).end === 'refused', 'the budget to be used up');

    const served = upstream.served();
    const spent = served.reduce(
      (sum, { promptTokens, completionTokens }) =>
        sum + PRICES.call + BigInt(promptTokens) * PRICES.input + BigInt(completionTokens) * PRICES.output,
      0n,
    );
    expect(spent).toBeLessThanOrEqual(BUDGET);
    // One more call of the most that it may come to does not fit.
    expect(spent).toBeGreaterThan(BUDGET - PRICES.call - 200n * PRICES.input - 100n * PRICES.output);
    const response = await fetch(`${gatewayUrl}/v1/limits`, { headers: { authorization: `Bearer ${secret}` } });
    const { data } = (await response.json()) as { data: { used: string; currency: string }[] };
    expect(data).toMatchObject([{ currency: 'USD', kind: 'budget' }]);
    expect(BigInt(Math.round(Number(data[0]?.used) * 1e9))).toBe(spent);
  });
});
