import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LIMIT_MAX, matchesPattern, modelAllowed, WINDOW_MS } from './key-policy.ts';

describe('model patterns', () => {
  it.each([
    ['gpt-4o', 'gpt-4o', true],
    ['gpt-4o', 'gpt-4o-mini', false],
    ['gpt-4o*', 'gpt-4o-mini', true],
    ['gpt-4o*', 'gpt-4o', true],
    ['*mini', 'gpt-4o-mini', true],
    ['*mini', 'gpt-4o-mini-2024-07-18', false],
    ['gpt-*-mini', 'gpt-4o-mini', true],
    ['gpt-*-mini', 'gpt-mini', false],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['*', '', true],
    ['**', 'anything', true],
    ['', '', true],
    ['', 'gpt', false],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'acb', false],
    ['GPT-*', 'gpt-4o', false],
    ['gpt-4.', 'gpt-4o', false],
    ['g?t', 'gpt', false],
    ['[a-z]*', 'gpt', false],
  ])('%s against %s is %s', (pattern, model, expected) => {
    expect(matchesPattern(pattern, model)).toBe(expected);
  });

  it('agree with the same pattern as a regular expression', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.'), maxLength: 12 });
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.', '*'), maxLength: 8 });
    fc.assert(
      fc.property(pattern, text, (glob, model) => {
        const expression = glob
          .split('*')
          .map((part) => part.replaceAll('.', '\\.'))
          .join('.*');
        expect(matchesPattern(glob, model)).toBe(new RegExp(`^${expression}$`, 'u').test(model));
      }),
      { numRuns: 2000 },
    );
  });

  it('take time in proportion to the text on patterns that make a backtracking matcher explode', () => {
    const text = `${'a'.repeat(100_000)}c`;
    const started = performance.now();
    expect(matchesPattern(`${'*a'.repeat(10_000)}*b`, text)).toBe(false);
    expect(matchesPattern('*'.repeat(100_000), text)).toBe(true);
    expect(matchesPattern(`${'a*'.repeat(10_000)}c`, text)).toBe(true);
    // Some milliseconds; a backtracking matcher would not end.
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it('allow every model where there are none, and otherwise what one of them matches', () => {
    expect(modelAllowed([], 'anything')).toBe(true);
    expect(modelAllowed(['gpt-*', 'claude-*'], 'claude-sonnet-4')).toBe(true);
    expect(modelAllowed(['gpt-*', 'claude-*'], 'gemini-2.5-pro')).toBe(false);
  });
});

describe('the bounds of a limit', () => {
  it('keep every counter exact in a Lua number', () => {
    expect(LIMIT_MAX < 2n ** 53n).toBe(true);
    // 9 million units of a currency in nanos.
    expect(LIMIT_MAX).toBe(9_000_000n * 10n ** 9n);
    expect(WINDOW_MS.hour).toBe(60 * WINDOW_MS.minute);
  });
});
