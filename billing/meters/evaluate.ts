import type { BinaryOperator, Expression, FunctionName } from '#config/expression.ts';
import {
  add,
  ceil,
  compare,
  divide,
  type Exact,
  exact,
  multiply,
  parseExact,
  round,
  subtract,
  ZERO,
} from '#core/exact.ts';

/**
 * What an expression comes to for an event. Numbers are exact: there is no binary float between an event and a bill.
 * A field that is not there is null, and so is what is computed with it, so that an event without the field that a
 * meter reads is no mistake. What cannot be computed is an `EvaluationProblem`: the event is listed, the rest goes on.
 */
export type Value = Exact | string | boolean | null | readonly Value[];

export class EvaluationProblem extends Error {}

/** The fields that expressions read: those of `data`, and the envelope as `event`. */
export type Fields = Readonly<Record<string, unknown>>;

/** Bounds what arithmetic costs: digits of a numerator or denominator, in bits. */
const NUMBER_BITS_MAX = 1_024n;
const NUMBER_MAX = 1n << NUMBER_BITS_MAX;
const EXPONENT_MAX = 400n;
const ROUND_DIGITS_MAX = 30n;

export function evaluate(expression: Expression, fields: Fields): Value {
  switch (expression.kind) {
    case 'literal':
      return expression.value;
    case 'field':
      return fieldOf(fields, expression.path);
    case 'unary': {
      const value = evaluate(expression.of, fields);
      if (expression.operator === '!') return !truth(value);
      const number = numberOf(value);
      return number && { num: -number.num, den: number.den };
    }
    case 'binary':
      return binary(expression.operator, expression.left, expression.right, fields);
    case 'choice':
      return evaluate(truth(evaluate(expression.test, fields)) ? expression.whenTrue : expression.whenFalse, fields);
    case 'call':
      return call(
        expression.name,
        expression.given.map((one) => evaluate(one, fields)),
      );
    case 'list':
      return expression.items.map((one) => evaluate(one, fields));
  }
}

/** For a condition: null is no. */
export function truth(value: Value): boolean {
  if (typeof value === 'boolean') return value;
  if (value === null) return false;
  throw new EvaluationProblem(`wants true or false, not ${describe(value)}`);
}

/** Text that is a decimal is a number where one is wanted: quantities in events are such text. Null stays null. */
export function numberOf(value: Value): Exact | null {
  if (value === null) return null;
  if (isNumber(value)) return value;
  const parsed = typeof value === 'string' ? parseExact(value) : undefined;
  if (!parsed) throw new EvaluationProblem(`wants a number, not ${describe(value)}`);
  return parsed;
}

export function isNumber(value: Value): value is Exact {
  return typeof value === 'object' && value !== null && 'num' in value;
}

export function describe(value: Value): string {
  if (value === null) return 'nothing';
  if (isNumber(value)) return `${value.num}${value.den === 1n ? '' : `/${value.den}`}`.slice(0, 60);
  if (typeof value === 'object') return 'a list';
  return typeof value === 'string' ? `"${value.slice(0, 40)}"` : String(value);
}

export function fieldOf(fields: Fields, path: readonly string[]): Value {
  let at: unknown = fields;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return null;
    at = (at as Readonly<Record<string, unknown>>)[name];
  }
  return jsonValue(at);
}

function jsonValue(value: unknown): Value {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return numberOfJson(String(value));
  if (JSON.isRawJSON(value)) return numberOfJson(value.rawJSON);
  if (Array.isArray(value)) return value.map(jsonValue);
  return null;
}

const SCIENTIFIC = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/;

/** The decimal that a JSON number is written as. */
function numberOfJson(text: string): Exact {
  const plain = parseExact(text);
  if (plain) return plain;
  const [, sign, whole, fraction = '', exponent = '0'] = SCIENTIFIC.exec(text) ?? [];
  if (whole === undefined) throw new EvaluationProblem(`wants a number, not ${text}`);
  const digits = BigInt(`${sign}${whole}${fraction}`);
  const shift = BigInt(exponent) - BigInt(fraction.length);
  // Before the power is computed: it is what an exponent of nine digits costs.
  if (shift > EXPONENT_MAX || shift < -EXPONENT_MAX) throw new EvaluationProblem('has a number that is too large');
  return bounded(shift < 0n ? exact(digits, 10n ** -shift) : exact(digits * 10n ** shift));
}

function binary(operator: BinaryOperator, leftOf: Expression, rightOf: Expression, fields: Fields): Value {
  const left = evaluate(leftOf, fields);
  switch (operator) {
    case '&&':
      return truth(left) && truth(evaluate(rightOf, fields));
    case '||':
      return truth(left) || truth(evaluate(rightOf, fields));
    case '??':
      return left ?? evaluate(rightOf, fields);
  }
  const right = evaluate(rightOf, fields);
  switch (operator) {
    case '==':
      return same(left, right);
    case '!=':
      return !same(left, right);
    case 'in':
      if (!Array.isArray(right)) throw new EvaluationProblem(`wants a list after "in", not ${describe(right)}`);
      return right.some((one) => same(left, one));
  }
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a === null || b === null) return null;
  switch (operator) {
    case '+':
      return bounded(add(a, b));
    case '-':
      return bounded(subtract(a, b));
    case '*':
      return bounded(multiply(a, b));
    case '/':
      return bounded(divide(a, divisor(b)));
    case '%':
      return bounded(subtract(a, multiply(b, { num: round(divide(a, divisor(b)), 'down'), den: 1n })));
    case '<':
      return compare(a, b) < 0;
    case '<=':
      return compare(a, b) <= 0;
    case '>':
      return compare(a, b) > 0;
    case '>=':
      return compare(a, b) >= 0;
  }
}

function divisor(value: Exact): Exact {
  if (value.num === 0n) throw new EvaluationProblem('divides by zero');
  return value;
}

/** A number equals text that is the same number; two texts are compared as they stand. */
function same(left: Value, right: Value): boolean {
  if (left === null || right === null) return left === right;
  if (isNumber(left) || isNumber(right)) {
    const [a, b] = [asNumber(left), asNumber(right)];
    return a !== undefined && b !== undefined && compare(a, b) === 0;
  }
  if (Array.isArray(left) || Array.isArray(right)) throw new EvaluationProblem('compares a list');
  return left === right;
}

function asNumber(value: Value): Exact | undefined {
  if (value !== null && isNumber(value)) return value;
  return typeof value === 'string' ? parseExact(value) : undefined;
}

function call(name: FunctionName, given: readonly Value[]): Value {
  const [first = null, second = null] = given;
  switch (name) {
    case 'has':
      return first !== null;
    case 'abs':
      return ofNumber(first, (value) => ({ num: value.num < 0n ? -value.num : value.num, den: value.den }));
    case 'ceil':
      return ofNumber(first, (value) => ({ num: ceil(value), den: 1n }));
    case 'floor':
      return ofNumber(first, (value) => ({ num: -ceil({ num: -value.num, den: value.den }), den: 1n }));
    case 'round':
      return ofNumber(first, (value) => roundTo(value, given.length > 1 ? second : ZERO));
    case 'min':
    case 'max':
      return extreme(name, given);
    case 'length': {
      if (first === null) return null;
      if (typeof first !== 'string' && !Array.isArray(first)) {
        throw new EvaluationProblem(`wants text or a list, not ${describe(first)}`);
      }
      return { num: BigInt(first.length), den: 1n };
    }
    case 'lower':
      return first === null ? null : textOf(first).toLowerCase();
    case 'contains':
      if (Array.isArray(first)) return first.some((one) => same(one, second));
      return first !== null && second !== null && textOf(first).includes(textOf(second));
    case 'starts_with':
      return first !== null && second !== null && textOf(first).startsWith(textOf(second));
    case 'ends_with':
      return first !== null && second !== null && textOf(first).endsWith(textOf(second));
  }
}

function ofNumber(value: Value, of: (number: Exact) => Exact): Value {
  const number = numberOf(value);
  return number && bounded(of(number));
}

/** Half up, to decimals. */
function roundTo(value: Exact, decimals: Value): Exact {
  const digits = numberOf(decimals);
  if (digits?.den !== 1n || digits.num < 0n || digits.num > ROUND_DIGITS_MAX) {
    throw new EvaluationProblem(`rounds to ${describe(decimals)} decimals; 0 to ${ROUND_DIGITS_MAX} can be asked for`);
  }
  const scale = 10n ** digits.num;
  return exact(round(exact(value.num * scale, value.den), 'half_up'), scale);
}

/** Of what is there; null where nothing is. */
function extreme(name: 'min' | 'max', given: readonly Value[]): Value {
  let found: Exact | null = null;
  for (const value of given) {
    const number = numberOf(value);
    if (number && (!found || (name === 'max' ? compare(number, found) > 0 : compare(number, found) < 0)))
      found = number;
  }
  return found;
}

function textOf(value: Value): string {
  if (typeof value === 'string') return value;
  throw new EvaluationProblem(`wants text, not ${describe(value)}`);
}

function bounded(value: Exact): Exact {
  const size = value.num < 0n ? -value.num : value.num;
  if (size > NUMBER_MAX || value.den > NUMBER_MAX) throw new EvaluationProblem('comes to a number that is too large');
  return value;
}
