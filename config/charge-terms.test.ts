import { describe, expect, it } from 'vitest';
import { getConfig, parseConfig } from './load.ts';

const WITH = (charges: string) => `plans:\n  p:\n    charges:\n${charges.replace(/^/gm, '      ')}\n`;

async function problemsOf(charges: string): Promise<string[]> {
  const parsed = await parseConfig(WITH(charges), { env: {} });
  return ('problems' in parsed ? parsed.problems : []).map(({ line, path, text }) => `${line} ${path}: ${text}`);
}

describe('charges in the configuration', () => {
  it('take numbers as they are written, counts with suffixes, and a last tier without a bound', async () => {
    const text = WITH(
      '- { meter: output_tokens, price: { kind: graduated, tiers: [{ up_to: 1000, amount: 1.50, per: 1M }, { amount: 0.1 }] } }',
    );
    const config = await getConfig(text, { env: {}, file: 'weir.yaml' });
    expect(config.plans[0]?.charges).toEqual([
      {
        name: null,
        meter: 'output_tokens',
        model: '*',
        allowance: '0',
        price: {
          kind: 'graduated',
          tiers: [
            { up_to: '1000', amount: '1.5', per: '1000000', flat: '0' },
            { up_to: null, amount: '0.1', per: '1', flat: '0' },
          ],
        },
        changes: [],
        discount_percent: '0',
        cap: null,
        minimum: null,
      },
    ]);
  });

  it.each([
    ['- { meter: calls, price: { kind: unit, amount: -1 } }', '4 plans.p.charges[0].price.amount:'],
    ['- { meter: calls, price: { kind: lottery } }', '4 plans.p.charges[0].price.kind:'],
    ['- { meter: calls, price: { kind: unit, amount: 1, pre: 1M } }', '4 plans.p.charges[0].price.pre:'],
    ['- { meter: calls, price: { kind: unit } }', '4 plans.p.charges[0].price.amount:'],
    [
      '- { meter: calls, model: a, price: { kind: dynamic, of: provider_cost } }\n- { meter: output_tokens, price: { kind: dynamic, of: provider_cost } }',
      '5 plans.p.charges[1].meter: would bill again what calls carries',
    ],
    ['- { meter: calls, price: cheap }', '4 plans.p.charges[0].price:'],
    ['- { price: { kind: unit, amount: 1 } }', '4 plans.p.charges[0].meter:'],
    ['- { meter: calls, price: { kind: unit, amount: 1 }, allowance: many }', '4 plans.p.charges[0].allowance:'],
    ['- meter: calls\n  price:\n    kind: package\n    size: 0\n    amount: 1', '7 plans.p.charges[0].price.size:'],
    [
      '- { meter: calls, price: { kind: unit, amount: 1 }, changes: [{ effective_at: tomorrow, price: { kind: unit, amount: 1 } }] }',
      '4 plans.p.charges[0].changes[0].effective_at:',
    ],
  ])('with a mistake are refused where it stands: %s', async (charges, place) => {
    const problems = await problemsOf(charges);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(place);
    expect(problems[0]).not.toContain('Invalid input');
  });
});
