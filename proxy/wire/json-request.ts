import { Fault } from '#core/fault.ts';
import { decodeStrictUtf8, encodeUtf8, isObject, parseJson } from './bytes.ts';
import { type Edit, findMember, keyOf, type Member, membersOf } from './json-span.ts';
import type { Params } from './path-pattern.ts';

/** What the formats that take a JSON object share on the way in. */
export type Fields = Readonly<Record<string, unknown>>;

const MODEL_CHARS_MAX = 256;
const NAME_CHARS_MAX = 256;

/**
 * Parses the body once, strictly. A member that decides what a call costs may stand in it only once: of two, our parser
 * takes the last and another may take the first, and then what is billed is not what was held.
 */
export function parseBody(body: Uint8Array, decisive: ReadonlySet<string>): Fields {
  const text = decodeStrictUtf8(body);
  const parsed = text === undefined ? undefined : parseJson(text);
  if (!parsed) throw new Fault('invalid_json');
  if (!isObject(parsed.value)) throw new Fault('invalid_request', { detail: 'The body must be a JSON object.' });
  const members = membersOf(body);
  if (!members) throw new Fault('invalid_json');
  if (members.length !== Object.keys(parsed.value).length) checkDecisive(body, members, decisive);
  return parsed.value;
}

function checkDecisive(body: Uint8Array, members: readonly Member[], decisive: ReadonlySet<string>): void {
  const seen = new Set<string>();
  for (const member of members) {
    const key = keyOf(body, member);
    if (decisive.has(key) && seen.has(key)) {
      throw new Fault('invalid_request', { detail: `The field '${key}' is given twice.` });
    }
    seen.add(key);
  }
}

/** `inPath`: the path names it, as Azure's does, and the body need not. */
export function parseModel(fields: Fields, inPath?: string): string {
  const model = inPath ?? fields.model;
  if (typeof model !== 'string' || model === '' || model.length > MODEL_CHARS_MAX) {
    throw new Fault('invalid_request', { detail: "The field 'model' must be a string that names a model." });
  }
  return model;
}

/** The model that a path names. Throws `invalid_request` when it names none. */
export function modelInPath(params: Params): string {
  const model = decoded(params.model ?? '');
  if (model === undefined || model === '' || model.length > MODEL_CHARS_MAX) {
    throw new Fault('invalid_request', { detail: 'The path must name a model.' });
  }
  return model;
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Null where the field is absent. Strict, because some servers read "true" and "5" as true and 5. */
export function parseFlag(fields: Fields, name: string): boolean | null {
  const value = fields[name] ?? null;
  if (value === null || typeof value === 'boolean') return value;
  throw new Fault('invalid_request', { detail: `The field '${name}' must be true or false.` });
}

/** Null where the field is absent, and where it is zero or less: some servers read that as no maximum. */
export function parseCount(fields: Fields, name: string): bigint | null {
  const value = fields[name] ?? null;
  if (value === null) return null;
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
    throw new Fault('invalid_request', { detail: `The field '${name}' must be a whole number.` });
  }
  return value > 0 ? BigInt(value) : null;
}

/** Names of end users and sessions go onto events: text of a sane length, or nothing. */
export function parseName(value: unknown): string | null {
  return typeof value === 'string' && value !== '' && value.length <= NAME_CHARS_MAX ? value : null;
}

/** The bytes of a member of an object that was parsed out of these; undefined where it, or any other, stands there twice. */
export function onlyMember(bytes: Uint8Array, name: string, parsed: Fields): Uint8Array | undefined {
  const members = membersOf(bytes);
  if (!members || members.length !== Object.keys(parsed).length) return undefined;
  const member = findMember(bytes, members, name);
  return member && bytes.subarray(member.valueStart, member.valueEnd);
}

/** What a provider keeps, by its id. */
export function parseObjectId(value: unknown, name: string): string {
  if (typeof value === 'string' && value !== '' && value.length <= NAME_CHARS_MAX) return value;
  throw new Fault('invalid_request', {
    detail: `The field '${name}' must be the id of something that was made before.`,
  });
}

export function replaceModel(body: Uint8Array, model: string): Edit[] {
  return (membersOf(body) ?? [])
    .filter((member) => keyOf(body, member) === 'model')
    .map(({ valueStart, valueEnd }) => ({
      start: valueStart,
      end: valueEnd,
      insert: encodeUtf8(JSON.stringify(model)),
    }));
}

/** One text or one list of token ids is one input; a list of either is a batch. */
export function countInputs(input: unknown): bigint {
  const isBatch = Array.isArray(input) && input.length > 0 && !input.every((item) => typeof item === 'number');
  return isBatch ? BigInt(input.length) : 1n;
}

/** Token ids as input, one list or several, are counted rather than guessed. */
export function countTokenIds(input: unknown): bigint | undefined {
  if (!Array.isArray(input) || input.length === 0) return undefined;
  if (input.every((item) => typeof item === 'number')) return BigInt(input.length);
  let total = 0;
  for (const list of input) {
    if (!Array.isArray(list) || !list.every((item) => typeof item === 'number')) return undefined;
    total += list.length;
  }
  return BigInt(total);
}
