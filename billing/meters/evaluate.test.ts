import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EXPRESSION_CHARS_MAX, getExpression, isProblem, parseExpression } from '#config/expression.ts';
import { describe as describeValue, EvaluationProblem, evaluate, isNumber } from './evaluate.ts';

const fields = {
  model: 'gpt-4o',
  quantities: { output_tokens: '250', input_tokens: '1000.5' },
  labels: { team: 'search', 'odd name': 'x' },
  properties: { size: 0.1, big: 1e21, small: 5e-9, flag: true, list: ['a', 'b'], none: null },
};

const valueOfText = (text: string) => {
  const value = evaluate(getExpression(text), fields);
  return value !== null && isNumber(value) ? describeValue(value) : value;
};

describe('an expression over an event', () => {
  it('computes with exact numbers, whatever they are written as', () => {
    expect(valueOfText('properties.size + 0.2 == 0.3')).toBe(true);
    expect(valueOfText('properties.size * 3')).toBe('3/10');
    expect(valueOfText('quantities.output_tokens / 3')).toBe('250/3');
    expect(valueOfText('-quantities.input_tokens % 7')).toBe('-13/2');
    expect(valueOfText('properties.big')).toBe('1000000000000000000000');
    expect(valueOfText('properties.small')).toBe('1/200000000');
    expect(valueOfText('round(quantities.output_tokens / 3, 2)')).toBe('8333/100');
    expect(valueOfText('ceil(-1.5) + floor(-1.5) + abs(-2)')).toBe('-1');
    expect(valueOfText('min(3, max(1, 2), quantities.nothing)')).toBe('2');
  });

  it('decides', () => {
    expect(valueOfText('labels.team == "search" && model in ["gpt-4o", "gpt-4o-mini"]')).toBe(true);
    expect(valueOfText('starts_with(model, "gpt") && !ends_with(model, "mini") || false')).toBe(true);
    expect(valueOfText('labels["odd name"] == "x" ? "yes" : "no"')).toBe('yes');
    expect(valueOfText('contains(properties.list, "b") && length(properties.list) == 2')).toBe(true);
    expect(valueOfText('contains(lower("ABC"), "bc")')).toBe(true);
    expect(valueOfText('"08" == "8"')).toBe(false);
    expect(valueOfText('quantities.output_tokens == 250.0')).toBe(true);
  });

  it('takes a field that is not there for nothing, and nothing for no', () => {
    expect(valueOfText('properties.none + 1')).toBeNull();
    expect(valueOfText('labels.team.deeper ?? "else"')).toBe('else');
    expect(valueOfText('has(user) || has(properties.size)')).toBe(true);
    expect(valueOfText('user == "x" ? 1 : 2')).toBe('2');
    expect(valueOfText('constructor ?? toString ?? __proto__ ?? labels.constructor')).toBeNull();
  });

  it.each([
    ['model + 1', 'wants a number, not "gpt-4o"'],
    ['1 / (properties.size - 0.1)', 'divides by zero'],
    ['properties.size % 0', 'divides by zero'],
    ['model in labels', 'wants a list'],
    ['properties.list == "a"', 'compares a list'],
    ['model ? 1 : 2', 'wants true or false'],
    ['round(1, 99)', 'rounds to 99 decimals'],
    ['lower(1)', 'wants text'],
  ])('says what is wrong with %s', (text, problem) => {
    expect(() => valueOfText(text)).toThrow(EvaluationProblem);
    expect(() => valueOfText(text)).toThrow(problem);
  });

  it.each([
    ['', 'several expressions'],
    ['1 2', 'several expressions'],
    ['a = 1', 'cannot be read'],
    ['() => 1', 'cannot be read'],
    ['while (true) {}', 'cannot be read'],
    ['import("x")', 'no function here'],
    ['process.exit(1)', 'no function here'],
    ['labels[model]', 'computes the name of a field'],
    ['labels[0]', 'computes the name of a field'],
    ['"text".length', 'reads a field of something that is no field'],
    ['this', 'something'],
    ['1e5', 'no plain decimal'],
    ['0.1234567890123456789012345678901234567890123456789012345678901', 'no plain decimal'],
    ['a & b', 'operator &'],
    ['2 ** 9', 'operator **'],
    ['round()', 'gives round 0 arguments'],
    ['[1,,2]', 'gap'],
    ['('.repeat(900), 'cannot be read'],
    [`${'('.repeat(400)}1${')'.repeat(400)}`, ''],
    [`${'!'.repeat(40)}true`, 'nested deeper'],
    [Array.from({ length: 150 }, () => '1').join('+'), 'nested deeper'],
    [`min(${Array.from({ length: 16 }, () => 'max(1,2,3,4,5,6,7,8,9,10,11,12,13)').join(',')})`, 'more than 200 parts'],
    ['1'.repeat(EXPRESSION_CHARS_MAX + 1), 'characters'],
  ])('refuses %s', (text, problem) => {
    const parsed = parseExpression(text);
    if (problem === '') expect(isProblem(parsed)).toBe(false);
    else expect(parsed).toMatchObject({ problem: expect.stringContaining(problem) });
  });

  it('bounds numbers, so that a chain of products ends', () => {
    const nines = '9'.repeat(59);
    const product = Array.from({ length: 12 }, () => nines).join('*');
    expect(() => valueOfText(product)).toThrow('too large');
  });

  it.each(['1e+999999999', '-1e-999999999', '9e+401'])('takes no number of an event such as %s', (text) => {
    const fields = { far: JSON.rawJSON(text) };
    expect(() => evaluate(getExpression('far'), fields)).toThrow('too large');
  });

  it('never throws anything but a problem, whatever the text and the event', () => {
    const piece = fc.constantFrom(
      'model',
      'labels.team',
      'quantities.output_tokens',
      '1',
      '"a"',
      '+',
      '/',
      '(',
      ')',
      '&&',
      '==',
      ',',
      '[',
      ']',
      'round(',
      '?',
      ':',
      '!',
      '-',
      'in',
      'properties.list',
      '%',
      '0',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        const parsed = parseExpression(pieces.join(' '));
        if (isProblem(parsed)) return;
        try {
          evaluate(parsed, fields);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(EvaluationProblem);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
