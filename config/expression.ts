import jsep from 'jsep';
import { type Exact, parseExact } from '#core/exact.ts';

/**
 * Expressions over an event, as meters and templates write them: `quantities.output_tokens / 1000`,
 * `labels.team == "search" && model in ["gpt-4o", "gpt-4o-mini"]`. A name stands for a field of the event's data, and
 * `event.type`, `event.source`, `event.id`, `event.subject` and `event.time` for its envelope.
 *
 * jsep reads the text; what of its syntax is meant here is spelt out below, and everything else is refused. There are
 * no loops, no assignments and no way to anything but the event. What an expression comes to is in
 * billing/meters/evaluate.ts, with exact numbers.
 */
export type Expression =
  | { readonly kind: 'literal'; readonly value: Exact | string | boolean | null }
  | { readonly kind: 'field'; readonly path: readonly string[] }
  | { readonly kind: 'unary'; readonly operator: UnaryOperator; readonly of: Expression }
  | {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly kind: 'choice';
      readonly test: Expression;
      readonly whenTrue: Expression;
      readonly whenFalse: Expression;
    }
  | { readonly kind: 'call'; readonly name: FunctionName; readonly given: readonly Expression[] }
  | { readonly kind: 'list'; readonly items: readonly Expression[] };

const UNARY = ['-', '!'] as const;
const BINARY = ['+', '-', '*', '/', '%', '==', '!=', '<', '<=', '>', '>=', '&&', '||', '??', 'in'] as const;
export type UnaryOperator = (typeof UNARY)[number];
export type BinaryOperator = (typeof BINARY)[number];

/** By name, how many arguments: at least and at most. */
export const FUNCTIONS = {
  abs: [1, 1],
  ceil: [1, 1],
  floor: [1, 1],
  round: [1, 2],
  min: [1, 16],
  max: [1, 16],
  has: [1, 1],
  length: [1, 1],
  lower: [1, 1],
  contains: [2, 2],
  starts_with: [2, 2],
  ends_with: [2, 2],
} as const satisfies Record<string, readonly [number, number]>;
export type FunctionName = keyof typeof FUNCTIONS;

/** Together they bound what an expression can cost at each event, whatever it says. */
export const EXPRESSION_CHARS_MAX = 1_000;
export const EXPRESSION_NODES_MAX = 200;
export const EXPRESSION_DEPTH_MAX = 32;

/** What is wrong with an expression, for the person who wrote it. */
export interface ExpressionProblem {
  readonly problem: string;
}

// jsep keeps its operators for the whole process; it is used nowhere else.
jsep.addBinaryOp('in', 7);

export function parseExpression(text: string): Expression | ExpressionProblem {
  if (text.length > EXPRESSION_CHARS_MAX) return { problem: `has more than ${EXPRESSION_CHARS_MAX} characters` };
  try {
    return convert(jsep(text) as jsep.CoreExpression, { nodes: 0 }, 1);
  } catch (thrown) {
    if (thrown instanceof Unusable) return { problem: thrown.message };
    return { problem: `cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}` };
  }
}

export function isProblem(parsed: Expression | ExpressionProblem): parsed is ExpressionProblem {
  return 'problem' in parsed;
}

/** The same where the text was checked before it was stored. */
export function getExpression(text: string): Expression {
  const parsed = parseExpression(text);
  if (isProblem(parsed)) throw new RangeError(`an expression ${parsed.problem}: ${text.slice(0, 80)}`);
  return parsed;
}

/** Every field that an expression reads. */
export function fieldsOf(expression: Expression): readonly (readonly string[])[] {
  switch (expression.kind) {
    case 'literal':
      return [];
    case 'field':
      return [expression.path];
    case 'unary':
      return fieldsOf(expression.of);
    case 'binary':
      return [...fieldsOf(expression.left), ...fieldsOf(expression.right)];
    case 'choice':
      return [expression.test, expression.whenTrue, expression.whenFalse].flatMap(fieldsOf);
    case 'call':
      return expression.given.flatMap(fieldsOf);
    case 'list':
      return expression.items.flatMap(fieldsOf);
  }
}

class Unusable extends Error {}

function convert(node: jsep.CoreExpression, count: { nodes: number }, depth: number): Expression {
  count.nodes++;
  if (count.nodes > EXPRESSION_NODES_MAX) throw new Unusable(`has more than ${EXPRESSION_NODES_MAX} parts`);
  if (depth > EXPRESSION_DEPTH_MAX) throw new Unusable(`is nested deeper than ${EXPRESSION_DEPTH_MAX}`);
  const inner = (one: jsep.Expression) => convert(one as jsep.CoreExpression, count, depth + 1);
  switch (node.type) {
    case 'Literal':
      return { kind: 'literal', value: literal(node) };
    case 'Identifier':
    case 'MemberExpression':
      return { kind: 'field', path: pathOf(node) };
    case 'UnaryExpression':
      return { kind: 'unary', operator: known(UNARY, node.operator), of: inner(node.argument) };
    case 'BinaryExpression':
      return {
        kind: 'binary',
        operator: known(BINARY, node.operator),
        left: inner(node.left),
        right: inner(node.right),
      };
    case 'ConditionalExpression':
      return {
        kind: 'choice',
        test: inner(node.test),
        whenTrue: inner(node.consequent),
        whenFalse: inner(node.alternate),
      };
    case 'ArrayExpression':
      return {
        kind: 'list',
        items: node.elements.map((one) => {
          if (one === null) throw new Unusable('has a list with a gap');
          return inner(one);
        }),
      };
    case 'CallExpression':
      return call(node, inner);
    default:
      throw new Unusable(`has ${node.type === 'Compound' ? 'several expressions' : 'something'} where one is wanted`);
  }
}

/** From the digits as they are written: 0.1 is a tenth here. */
function literal(node: jsep.Literal): Exact | string | boolean | null {
  const { value, raw } = node;
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
  const number = parseExact(raw);
  if (!number) throw new Unusable(`has a number that is no plain decimal: ${raw.slice(0, 40)}`);
  return number;
}

function known<Operator extends string>(operators: readonly Operator[], operator: string): Operator {
  const found = operators.find((one) => one === operator);
  if (!found) throw new Unusable(`has the operator ${operator}, which means nothing here`);
  return found;
}

/** `labels.team` or `labels["team"]`: names only, so that what is read can be told from the text. */
function pathOf(node: jsep.CoreExpression): string[] {
  if (node.type === 'Identifier') return [node.name];
  if (node.type !== 'MemberExpression') throw new Unusable('reads a field of something that is no field');
  const property = node.property as jsep.CoreExpression;
  const before = pathOf(node.object as jsep.CoreExpression);
  if (!node.computed && property.type === 'Identifier') return [...before, property.name];
  if (property.type === 'Literal' && typeof property.value === 'string') return [...before, property.value];
  throw new Unusable('computes the name of a field');
}

function call(node: jsep.CallExpression, inner: (one: jsep.Expression) => Expression): Expression {
  const callee = node.callee as jsep.CoreExpression;
  const name = callee.type === 'Identifier' ? callee.name : '';
  if (!isFunctionName(name)) {
    throw new Unusable(`calls something that is no function here; known are ${Object.keys(FUNCTIONS).join(', ')}`);
  }
  const [least, most] = FUNCTIONS[name];
  const count = node.arguments.length;
  if (count < least || count > most) {
    throw new Unusable(`gives ${name} ${count} arguments; it takes ${least === most ? least : `${least} to ${most}`}`);
  }
  return { kind: 'call', name, given: node.arguments.map(inner) };
}

function isFunctionName(name: string): name is FunctionName {
  return Object.hasOwn(FUNCTIONS, name);
}
