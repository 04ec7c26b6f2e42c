import { describe, expect, it } from 'vitest';
import { formatProblem, getConfig, parseConfig } from './load.ts';

const metersOf = async (text: string) => (await getConfig(text, { env: {}, file: 'weir.yaml' })).meters;

async function problems(meter: string): Promise<string> {
  const result = await parseConfig(`meters: { m: { ${meter} } }`, { env: {} });
  return 'problems' in result ? result.problems.map((problem) => formatProblem(problem, 'w')).join('\n') : '';
}

describe('meters in the file', () => {
  it('say what is measured, and have the same terms as over the API', async () => {
    const text = `
meters:
  seats: { aggregation: unique, value: properties.seat, operation: properties.op, recurring: true, proration: by_day }
  search-output:
    name: Output of search
    aggregation: sum
    unit: output_tokens
    filter: 'labels.team == "search"'
    dimensions: [model, labels.feature]
    rounding: { mode: up, multiple_of: 1000 }
  peak: { aggregation: max, value: quantities.output_tokens, window: hour, combine: average, rounding: { mode: half_even, digits: 2 } }
`;
    const common = { event_type: 'weir.usage.v1', dimensions: [], recurring: false, proration: 'none' };
    expect(await metersOf(text)).toEqual([
      {
        id: 'seats',
        name: 'seats',
        terms: {
          ...common,
          aggregation: 'unique',
          value: 'properties.seat',
          operation: 'properties.op',
          recurring: true,
          proration: 'by_day',
        },
      },
      {
        id: 'search-output',
        name: 'Output of search',
        terms: {
          ...common,
          aggregation: 'sum',
          unit: 'output_tokens',
          filter: 'labels.team == "search"',
          dimensions: ['model', 'labels.feature'],
          rounding: { mode: 'up', multiple_of: '1000' },
        },
      },
      {
        id: 'peak',
        name: 'peak',
        terms: {
          ...common,
          aggregation: 'max',
          value: 'quantities.output_tokens',
          window: 'hour',
          combine: 'average',
          rounding: { mode: 'half_even', digits: 2 },
        },
      },
    ]);
  });

  it.each([
    ['aggregation: median', 'aggregation'],
    ['aggregation: sum', 'meters.m.value: is missing'],
    ['aggregation: sum, value: a, unit: calls', 'value: has no meaning beside a unit'],
    ['aggregation: sum, value: "a +"', 'value: cannot be read'],
    ['aggregation: sum, value: a, filter: "while(1)"', 'filter: calls something that is no function'],
    ['aggregation: sum, value: a, dimensions: ["a + b"]', 'must be the name of a field'],
    ['aggregation: sum, value: a, dimensions: [a, a]', 'names a dimension twice'],
    ['aggregation: sum, value: a, dimensions: [a, b, c, d, e, f]', 'dimensions'],
    ['aggregation: max, value: a, recurring: true', 'recurring: has no meaning for max'],
    ['aggregation: sum, value: a, recurring: true, window: day', 'window: has no meaning for a level'],
    ['aggregation: sum, value: a, combine: max', 'combine: has no meaning without a window'],
    ['aggregation: sum, value: a, values: levels', 'values: is for a time-weighted sum'],
    ['aggregation: sum, value: a, operation: b', 'operation: is for a recurring unique count'],
    ['aggregation: sum, value: a, proration: by_day', 'proration: is for a recurring'],
    ['aggregation: sum, value: a, rounding: { mode: up, digits: 1, multiple_of: 2 }', 'digits or multiple_of'],
    ['aggregation: sum, value: a, rounding: { mode: up, digits: 13 }', 'must be a whole number from 0 to 12'],
    ['aggregation: sum, value: a, rounding: { mode: up, multiple_of: 0.0 }', 'must be a decimal above zero'],
    ['aggregation: sum, value: a, fliter: b', 'did you mean "filter"'],
  ])('are refused with %s', async (meter, sentence) => {
    expect(await problems(meter)).toContain(sentence);
  });
});
