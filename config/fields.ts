import { z } from 'zod';
import { LABEL_LENGTH_MAX, LABELS_MAX, NAME_LENGTH_MAX } from './bounds.ts';
import { didYouMean } from './nearest.ts';

/**
 * Maps of the file. A field that is not known is a mistake, never ignored: the sentence names the field that was
 * probably meant, or says that Weir will have it one day (`later`), since an option that does nothing is a lie.
 */
export function fields<Shape extends z.core.$ZodLooseShape>(shape: Shape, later: readonly string[] = []) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((key) => unknownField(key, Object.keys(shape), later)).join('\n')
        : 'must be a map of fields',
  });
}

function unknownField(name: string, known: readonly string[], later: readonly string[]): string {
  if (later.includes(name)) return 'is not supported yet';
  const meant = didYouMean(name, known);
  return `is no field that is known here${meant === '' ? `; known are ${[...known].sort().join(', ')}` : meant}`;
}

/** Ids that people choose: they stand in paths, in Redis keys and on invoices. */
export function nameText(what: string) {
  return z
    .string({ error: `must be the name of ${what}` })
    .regex(new RegExp(`^[A-Za-z0-9][A-Za-z0-9._-]{0,${NAME_LENGTH_MAX - 1}}$`), {
      error: `is no name for ${what}: letters, digits, dots, dashes and underscores, at most ${NAME_LENGTH_MAX}`,
    });
}

const labelText = z.string({ error: 'must be text' }).regex(new RegExp(`^[^\\u0000-\\u001f]{1,${LABEL_LENGTH_MAX}}$`), {
  error: `must be text of at most ${LABEL_LENGTH_MAX} characters`,
});

/** A map from names of labels to their values. */
export function labels() {
  return z
    .record(nameText('a label'), labelText, { error: 'must be a map from names to texts' })
    .refine((value) => Object.keys(value).length <= LABELS_MAX, { error: `must have at most ${LABELS_MAX} labels` });
}

/** A map from names to things. */
export function nameRecord<Value extends z.core.SomeType>(what: string, value: Value) {
  return z.record(nameText(what), value, { error: `must be a map whose fields are each the name of ${what}` });
}

export function list<Value extends z.core.SomeType>(value: Value, max?: number) {
  const any = z.array(value, { error: 'must be a list' });
  return max === undefined ? any : any.max(max, { error: `must be a list of at most ${max}` });
}

export function choice<const Values extends readonly [string, ...string[]]>(
  values: Values,
  later: readonly string[] = [],
) {
  const words = values.map((value) => `"${value}"`).join(values.length === 2 ? ' or ' : ', ');
  return z.enum(values, {
    error: (issue) =>
      typeof issue.input === 'string' && later.includes(issue.input)
        ? `"${issue.input}" is not supported yet; it must be ${words}`
        : `must be ${words}${typeof issue.input === 'string' ? didYouMean(issue.input, values) : ''}`,
  });
}
