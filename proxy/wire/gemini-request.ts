import { Fault } from '#core/fault.ts';
import { isObject } from './bytes.ts';
import { tierNamed } from './gemini-usage.ts';
import { type Fields, modelInPath } from './json-request.ts';
import { keyOf, membersOf } from './json-span.ts';
import type { Params } from './path-pattern.ts';
import type { CallHead } from './wire.ts';

/**
 * What Google's JSON has of its own: the model stands in the path, every name is read in two spellings
 * (`maxOutputTokens`, `max_output_tokens`), and numbers may be text.
 */

/** Behind a colon another method may hide, and dots may lead out of the model's place in the path. */
const NO_MODEL = /:|(^|\/)\.{1,2}(\/|$)/;

/** Throws `invalid_request` when the path names no model of Google's. */
export function modelOf(params: Params): string {
  const model = modelInPath(params);
  if (!NO_MODEL.test(model)) return model;
  throw new Fault('invalid_request', { detail: 'The path must name a model.' });
}

/** A body may name the model again, and then it must be that of the path. Throws `invalid_request`. */
export function checkModel(named: unknown, model: string): void {
  if (named === undefined || named === null) return;
  if (typeof named === 'string' && (named === model || named.endsWith(`models/${model}`))) return;
  throw new Fault('invalid_request', { detail: "The field 'model' must name the model of the path." });
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Both spellings, for lists of names. */
export function bothSpellings(names: readonly string[]): Set<string> {
  return new Set(names.flatMap((name) => [name, snake(name)]));
}

/** The member under whichever of its spellings. Throws `invalid_request` when both are given: nobody knows which counts. */
export function member(fields: Fields, name: string): unknown {
  const other = snake(name);
  const value = fields[name] ?? null;
  if (other === name) return value;
  const otherValue = fields[other] ?? null;
  if (value !== null && otherValue !== null) {
    throw new Fault('invalid_request', { detail: `The field '${name}' is given twice.` });
  }
  return value ?? otherValue;
}

/** Like `member`, of an object; empty where it is absent. */
export function objectMember(fields: Fields, name: string): Fields {
  const value = member(fields, name);
  if (value === null) return {};
  if (!isObject(value)) throw new Fault('invalid_request', { detail: `The field '${name}' must be an object.` });
  return value;
}

/** A whole number, or the text of one. Null where it is absent or not above zero. */
export function countMember(fields: Fields, name: string): bigint | null {
  const value = member(fields, name);
  if (value === null) return null;
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) {
    throw new Fault('invalid_request', { detail: `The field '${name}' must be a whole number.` });
  }
  return number > 0 ? BigInt(number) : null;
}

/** A list of objects; whatever else stands there is left to the provider to refuse. */
export function listMember(fields: Fields, name: string): Fields[] {
  const value = member(fields, name);
  if (Array.isArray(value)) return value.filter(isObject);
  // One object stands for a list of it.
  return isObject(value) ? [value] : [];
}

/**
 * The members of an object within the body decide what a call costs: each may stand there once, as at the top. Throws
 * `invalid_request`.
 */
export function checkOnce(body: Uint8Array, name: string): void {
  for (const outer of membersOf(body) ?? []) {
    const key = keyOf(body, outer);
    if (key !== name && key !== snake(name)) continue;
    const keys = (membersOf(body, outer.valueStart, outer.valueEnd) ?? []).map((inner) => keyOf(body, inner));
    const twice = keys.find((one, i) => keys.indexOf(one) !== i);
    if (twice !== undefined) throw new Fault('invalid_request', { detail: `The field '${twice}' is given twice.` });
  }
}

/** The tier that is asked for: in the body of the Gemini API, in a header of Vertex. */
export function tierAsked(fields: Fields, { headers }: CallHead): string | null {
  const tier = member(fields, 'serviceTier');
  if (typeof tier === 'string') return tierNamed(tier);
  const header = headers['x-vertex-ai-llm-shared-request-type'];
  return typeof header === 'string' ? tierNamed(header) : null;
}
