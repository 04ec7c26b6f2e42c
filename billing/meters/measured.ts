import { type Expression, fieldsOf as fieldsRead, getExpression } from '#config/expression.ts';
import { isUnitMeter, type MeterTerms, valueExpression } from '#config/meter-terms.ts';
import { add, type Exact, formatExact, ZERO } from '#core/exact.ts';
import { MINUTE_MS, QUARTER_MS } from '#core/time.ts';
import {
  EvaluationProblem,
  evaluate,
  type Fields,
  fieldOf,
  isNumber,
  numberOf,
  truth,
  type Value,
} from './evaluate.ts';

/**
 * What a version of a meter makes of an event: nothing, a contribution, or a problem. Pure; ingest, corrections and
 * whoever measures anew go through here.
 */

/** A version of a meter, ready to measure. */
export interface Gauge {
  readonly meter: string;
  readonly version: number;
  readonly terms: MeterTerms;
  /** unit: read from the sums by unit. roll_up: added up by slots. points: kept one by one, since their order matters. */
  readonly kept: 'unit' | 'roll_up' | 'points';
  /** Length of the slots of its roll-up. */
  readonly slotMs: number;
  readonly value: Expression | null;
  /** Fields that its value is made of: where no part of an event has them of its own, they are the whole event's, and so once in it. */
  readonly valued: readonly string[];
  /** Fields by which it takes some parts of an event and not others, or tells them apart. Without any it measures the whole event. */
  readonly telling: readonly string[];
  readonly filter: Expression | null;
  readonly operation: Expression | null;
  readonly dimensions: readonly (readonly string[])[];
}

export function gaugeOf(meter: string, version: number, terms: MeterTerms): Gauge {
  const value = valueExpression(terms);
  const [filter, operation] = [terms.filter, terms.operation].map((text) =>
    text === undefined ? null : getExpression(text),
  );
  return {
    meter,
    version,
    terms,
    kept: keptAs(terms),
    slotMs: terms.window === 'minute' ? MINUTE_MS : QUARTER_MS,
    value,
    valued: terms.aggregation === 'count' ? [] : namesIn(value),
    telling: [
      ...[filter, operation].flatMap(namesIn),
      ...terms.dimensions.map((name) => name.split('.')[0] ?? name),
      ...(terms.aggregation === 'unique' ? namesIn(value) : []),
    ],
    filter: filter ?? null,
    operation: operation ?? null,
    dimensions: terms.dimensions.map((name) => {
      const field = getExpression(name);
      if (field.kind !== 'field') throw new RangeError(`no field: ${name}`);
      return field.path;
    }),
  };
}

function namesIn(expression: Expression | null | undefined): string[] {
  return expression ? fieldsRead(expression).map(([name = '']) => name) : [];
}

/** Each event is in one place of what they add up, and in one only. */
const ADDING: ReadonlySet<MeterTerms['aggregation']> = new Set(['count', 'sum', 'average', 'time_weighted']);

function keptAs(terms: MeterTerms): Gauge['kept'] {
  if (isUnitMeter(terms)) return 'unit';
  return terms.recurring || terms.aggregation === 'latest' || terms.aggregation === 'time_weighted'
    ? 'points'
    : 'roll_up';
}

/** A row of an event: revision 0 is the event as it was taken; later ones take it back (sign -1) or count it anew. */
export interface EventRow {
  readonly source: string;
  readonly id: string;
  readonly revision: number;
  readonly sign: number;
  readonly type: string;
  readonly timeMs: number;
  readonly customer: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Of an event that a meter measures. */
export interface Contribution {
  readonly part: number;
  /** JSON list of texts and nulls, in the order of the meter's dimensions. */
  readonly dimensions: string;
  /** Of a unique count: what is counted. */
  readonly item: string;
  readonly value: Exact;
  readonly operation: 'add' | 'remove';
}

export type Measured = Contribution | { readonly part: number; readonly problem: string };

/**
 * Of an event as `fieldsOf` gives it. It is one event, whatever parts it has: those that fit are one contribution to each
 * combination of dimensions that they fall into, and what only the whole event has is added up once, at the first.
 */
export function measureEvent(gauge: Gauge, { whole, parts, own }: EventFields): Measured[] {
  const isTold = gauge.telling.some((name) => own.has(name));
  const isPartly = gauge.valued.some((name) => own.has(name));
  const isOnce = !isPartly && ADDING.has(gauge.terms.aggregation);
  const measured = new Map<string, Measured>();
  for (const [part, fields] of (isTold ? parts : [whole]).entries()) {
    try {
      const contribution = contributionOf(gauge, fields, part);
      if (!contribution) continue;
      const { dimensions, item, operation, value } = contribution;
      const cell = JSON.stringify([dimensions, item, operation]);
      const before = measured.get(cell);
      if (!before) measured.set(cell, contribution);
      else if (isPartly && 'value' in before) measured.set(cell, { ...before, value: add(before.value, value) });
      if (isOnce) break;
    } catch (thrown) {
      if (!(thrown instanceof EvaluationProblem)) throw thrown;
      // An event that is measured in part only would be billed for less than it was.
      return [{ part, problem: thrown.message }];
    }
  }
  return [...measured.values()];
}

/** What expressions read of an event: all that it has, and of each of its parts what it has of its own in place of that. */
export interface EventFields {
  readonly whole: Fields;
  readonly parts: readonly Fields[];
  /** Names that parts have of their own. */
  readonly own: ReadonlySet<string>;
}

const NOTHING: ReadonlySet<string> = new Set();

export function fieldsOf(row: EventRow): EventFields {
  const { data } = row.body;
  const { parts, ...whole }: Fields = isObject(data) ? data : {};
  const { type, source, id, subject, time } = row.body;
  // The customer may have been found by the key.
  const fields = { ...whole, customer: row.customer, event: { type, source, id, subject, time } };
  if (!Array.isArray(parts) || parts.length === 0) return { whole: fields, parts: [fields], own: NOTHING };
  return {
    whole: fields,
    parts: parts.map((part: unknown) =>
      isObject(part) ? { ...fields, ...part, model: part.model ?? whole.model } : fields,
    ),
    own: new Set(parts.flatMap((part: unknown) => (isObject(part) ? Object.keys(part) : []))),
  };
}

function contributionOf(gauge: Gauge, fields: Fields, part: number): Contribution | undefined {
  const { terms, filter, operation } = gauge;
  if (filter && !truth(evaluate(filter, fields))) return undefined;
  const value = gauge.value && evaluate(gauge.value, fields);
  if (gauge.value && value === null) return undefined;
  const counted = terms.aggregation === 'count' || terms.aggregation === 'unique';
  return {
    part,
    dimensions: JSON.stringify(gauge.dimensions.map((path) => labelOf(fieldOf(fields, path)))),
    item: terms.aggregation === 'unique' ? (labelOf(value) ?? '') : '',
    value: counted ? ZERO : storable(value, canFall(terms)),
    operation: operation ? operationOf(evaluate(operation, fields)) : 'add',
  };
}

/** Changes go down as well as up; everything else that is billed is at least nothing. */
function canFall(terms: MeterTerms): boolean {
  return terms.values === 'changes' || (terms.recurring && terms.aggregation === 'sum');
}

const WHOLE_MAX = 10n ** 18n;
const DECIMALS_MAX = 30;
const DECIMALS = 10n ** BigInt(DECIMALS_MAX);

/** A sum over 10^10 of these is still one that core/exact.ts parses, and each is stored to its last digit. */
function storable(of: Value, fallable: boolean): Exact {
  const value = numberOf(of);
  if (!value) throw new EvaluationProblem('wants a number');
  if (value.num < 0n && !fallable) throw new EvaluationProblem(`is below zero: ${value.num}/${value.den}`.slice(0, 80));
  if (DECIMALS % value.den !== 0n) {
    throw new EvaluationProblem(`has more than ${DECIMALS_MAX} decimals; round(…, 9) would keep nine`);
  }
  const size = value.num < 0n ? -value.num : value.num;
  if (size >= WHOLE_MAX * value.den) throw new EvaluationProblem('has more than 18 digits before the point');
  return value;
}

const LABEL_CHARS_MAX = 256;

/** What usage is kept apart by, as text; null where the event has no such field. */
function labelOf(value: Value): string | null {
  if (value === null) return null;
  if (Array.isArray(value)) throw new EvaluationProblem('has a list where one value is wanted');
  const text = isNumber(value) ? labelOfNumber(value) : String(value);
  if (text.length > LABEL_CHARS_MAX)
    throw new EvaluationProblem(`has a text of more than ${LABEL_CHARS_MAX} characters`);
  return text;
}

function labelOfNumber(value: Exact): string {
  if (DECIMALS % value.den !== 0n) throw new EvaluationProblem(`has more than ${DECIMALS_MAX} decimals`);
  return formatExact(value);
}

function operationOf(value: Value): 'add' | 'remove' {
  if (value === 'add' || value === 'remove') return value;
  throw new EvaluationProblem('wants "add" or "remove" as its operation');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
