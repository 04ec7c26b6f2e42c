import { describe, expect, it } from 'vitest';
import {
  INPUT_TOKEN_UNITS,
  OUTPUT_TOKEN_UNITS,
  parseQuantity,
  quantitiesOf,
  TOKEN_UNITS,
  tokensOf,
} from './quantity.ts';

describe('quantities', () => {
  it('are written as plain decimals, without the units that are zero', () => {
    expect(quantitiesOf({ calls: 1n, input_tokens: 12n, output_tokens: 0n })).toEqual({
      calls: '1',
      input_tokens: '12',
    });
    expect(quantitiesOf({ input_tokens: 2n ** 70n })).toEqual({ input_tokens: '1180591620717411303424' });
  });

  it('count every token of a call once, and nothing that is no token', () => {
    expect(
      tokensOf({ calls: 1n, input_tokens: 1n, cache_read_tokens: 10n, output_tokens: 100n, web_searches: 5n }),
    ).toBe(111n);
    expect([...TOKEN_UNITS].every((unit) => unit.endsWith('_tokens'))).toBe(true);
    for (const unit of [...INPUT_TOKEN_UNITS, ...OUTPUT_TOKEN_UNITS]) expect(TOKEN_UNITS.has(unit)).toBe(true);
    expect(INPUT_TOKEN_UNITS.filter((unit) => OUTPUT_TOKEN_UNITS.includes(unit))).toEqual([]);
  });

  it('are read as non-negative decimals', () => {
    expect(parseQuantity('0.5')).toEqual({ num: 1n, den: 2n });
    expect(parseQuantity('0')).toEqual({ num: 0n, den: 1n });
    expect(parseQuantity('-1')).toBeUndefined();
    expect(parseQuantity('1e3')).toBeUndefined();
  });
});
