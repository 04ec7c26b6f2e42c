import { z } from 'zod';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';
import { type Expression, fieldsOf, getExpression, isProblem, parseExpression } from './expression.ts';

/** What a meter is, as it is written in the configuration and over the API. What it measures is in billing/meters. */
export const AGGREGATIONS = ['count', 'sum', 'max', 'min', 'average', 'unique', 'latest', 'time_weighted'] as const;

const expression = z.string().superRefine((text, context) => {
  const parsed = parseExpression(text);
  if (isProblem(parsed)) context.addIssue({ code: 'custom', message: parsed.problem });
});

/** A name of a field, with dots: something that usage is kept apart by. */
const dimension = expression.refine((text) => {
  const parsed = parseExpression(text);
  return isProblem(parsed) || parsed.kind === 'field';
}, 'must be the name of a field, such as model or labels.team');

export const DIMENSIONS_MAX = 5;
const MULTIPLE = /^(?!0*\.?0*$)\d{1,12}(\.\d{1,12})?$/;

export const ONE_WAY = 'wants digits or multiple_of, not both';

export function isOneWay({ digits, multiple_of }: { digits?: unknown; multiple_of?: unknown }): boolean {
  return digits === undefined || multiple_of === undefined;
}

export const ROUNDING_DIGITS = { min: 0, max: 12, initial: 0 };

export const roundingFields = {
  mode: z
    .enum(['up', 'down', 'half_up', 'half_even'])
    .describe('Up is away from zero, down towards it; of halves, up or to the even one.'),
  digits: z
    .int()
    .min(ROUNDING_DIGITS.min)
    .max(ROUNDING_DIGITS.max)
    .optional()
    .describe('Decimals that are kept: none, unless told otherwise.'),
  multiple_of: z
    .string()
    .regex(MULTIPLE, 'must be a decimal above zero, such as "60" or "0.25"')
    .optional()
    .describe('Or to a multiple of this.'),
};

export const rounding = z.strictObject(roundingFields).refine(isOneWay, ONE_WAY);
export type QuantityRounding = z.output<typeof rounding>;

export const meterFields = {
  aggregation: z.enum(AGGREGATIONS).describe('How events add up.'),
  unit: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,63}$/, 'must be lower-case letters, digits and underscores')
    .optional()
    .describe('Short for the quantity of a unit: `value: quantities.UNIT`.'),
  value: expression
    .optional()
    .describe('What of an event is aggregated, as an expression. Of a count: only events that have it are counted.'),
  event_type: z.string().min(1).max(128).default(USAGE_EVENT_TYPE).describe('Events of this type only.'),
  filter: expression.optional().describe('Only events for which this expression is true.'),
  dimensions: z
    .array(dimension)
    .max(DIMENSIONS_MAX)
    .default([])
    .refine((names) => new Set(names).size === names.length, 'names a dimension twice')
    .describe('Fields of the event that usage is kept apart by, such as `labels.team`.'),
  window: z
    .enum(['minute', 'hour', 'day'])
    .optional()
    .describe("Aggregated in each window first; then the windows are combined. Days are those of the customer's zone."),
  combine: z
    .enum(['sum', 'max', 'min', 'average'])
    .optional()
    .describe('How windows are combined: added up, unless told otherwise. A window without events is none.'),
  recurring: z.boolean().default(false).describe('The level at the end of a period starts the next.'),
  values: z
    .enum(['levels', 'changes'])
    .optional()
    .describe('Of a time-weighted sum: whether events say what the level is, or by how much it changes.'),
  operation: expression
    .optional()
    .describe(
      'Of a recurring unique count: an expression that gives "add" or "remove". Without it, everything is added.',
    ),
  proration: z
    .enum(['none', 'by_day', 'by_second'])
    .default('none')
    .describe(
      'Of a recurring sum or unique count: what comes within a period counts for the share that is left of it.',
    ),
  rounding: rounding.optional().describe('Of the quantity that is priced.'),
};

const bare = z.strictObject(meterFields);
export type MeterTerms = z.output<typeof bare>;

/** What fits together, whatever else stands beside the terms. */
export function checkMeter(terms: MeterTerms, context: z.RefinementCtx): void {
  const problem = (field: keyof typeof meterFields, message: string): void =>
    context.addIssue({ code: 'custom', path: [field], message });
  const { aggregation, unit, value, recurring } = terms;
  if (unit !== undefined && value !== undefined) problem('value', 'has no meaning beside a unit');
  if (aggregation !== 'count' && unit === undefined && value === undefined) {
    problem('value', `is needed for ${aggregation}: what of an event is aggregated`);
  }
  if (recurring && !RECURRING.has(aggregation)) {
    problem('recurring', `has no meaning for ${aggregation}; known are ${[...RECURRING].join(', ')}`);
  }
  if (terms.window !== undefined && (recurring || aggregation === 'time_weighted')) {
    problem('window', 'has no meaning for a level that lasts');
  }
  if (terms.combine !== undefined && terms.window === undefined) problem('combine', 'has no meaning without a window');
  if (terms.values !== undefined && aggregation !== 'time_weighted') {
    problem('values', 'is for a time-weighted sum');
  }
  if (terms.operation !== undefined && !(recurring && aggregation === 'unique')) {
    problem('operation', 'is for a recurring unique count');
  }
  if (terms.proration !== 'none' && !(recurring && (aggregation === 'unique' || aggregation === 'sum'))) {
    problem('proration', 'is for a recurring sum or unique count');
  }
}

export const meterTerms = bare.superRefine(checkMeter);

const RECURRING: ReadonlySet<string> = new Set(['sum', 'unique', 'latest', 'time_weighted']);

/**
 * A meter that is a sum of a unit and nothing else is read from the usage that is summed anyway, by customer, key and
 * model; every other one is measured on its own when events are taken.
 */
export function isUnitMeter(terms: MeterTerms): boolean {
  return (
    (terms.aggregation === 'sum' || terms.aggregation === 'count') &&
    terms.unit !== undefined &&
    terms.event_type === USAGE_EVENT_TYPE &&
    terms.filter === undefined &&
    terms.dimensions.length === 0 &&
    terms.window === undefined &&
    terms.rounding === undefined &&
    !terms.recurring
  );
}

/** The units that a meter reads: usage of them is not left over when a plan has a charge for the meter. */
export function unitsReadBy(terms: MeterTerms): string[] {
  const units = valueExpression(terms) ? fieldsOf(valueExpression(terms) as Expression) : [];
  return units.flatMap(([of, unit]) => (of === 'quantities' && unit !== undefined ? [unit] : []));
}

export function valueExpression(terms: MeterTerms): Expression | null {
  if (terms.unit !== undefined) return { kind: 'field', path: ['quantities', terms.unit] };
  return terms.value === undefined ? null : getExpression(terms.value);
}
