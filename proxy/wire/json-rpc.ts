import { Fault } from '#core/fault.ts';
import { decodeStrictUtf8, isObject, parseJson } from './bytes.ts';
import type { CallId } from './dialect.ts';
import type { Fields } from './json-request.ts';
import { elementsOf, keyOf, type Member, membersOf } from './json-span.ts';

/** What the agents' protocols share on the way in: one message of JSON-RPC or, in an old revision of MCP, a list. */
export interface RpcMessage {
  readonly id: CallId;
  /** Null in an answer to something that the server asked. */
  readonly method: string | null;
  readonly params: Fields;
}

/** In one body: each may be a call. */
const MESSAGES_MAX = 100;
/** The longest name of a method, a tool or a task. */
const NAME_CHARS_MAX = 200;

const TOP = ['id', 'method', 'params'];

/**
 * Parses the body strictly where it decides what is called: of two members our reader takes the last, and tells capitals
 * apart, and others do neither. What runs must be what was allowed and held. `decisive`: names within `params`.
 */
export function parseRpc(body: Uint8Array, decisive: readonly string[]): RpcMessage[] {
  const text = decodeStrictUtf8(body);
  const parsed = text === undefined ? undefined : parseJson(text);
  if (!parsed) throw new Fault('invalid_json');
  const values: readonly unknown[] = Array.isArray(parsed.value) ? parsed.value : [parsed.value];
  if (values.length === 0 || values.length > MESSAGES_MAX)
    throw wrong(`The body must hold 1 to ${MESSAGES_MAX} messages.`);
  for (const { start, end } of elementsOf(body) ?? [{ start: 0, end: body.length }]) {
    const members = membersOf(body, start, end);
    if (!members) throw wrong('A message must be a JSON object.');
    const params = checkNames(body, members, TOP).get('params');
    const inParams = params && membersOf(body, params.valueStart, params.valueEnd);
    if (inParams) checkNames(body, inParams, decisive);
  }
  return values.map(messageOf);
}

/** Throws where one of the names stands twice, or in other letters. */
function checkNames(body: Uint8Array, members: readonly Member[], names: readonly string[]): Map<string, Member> {
  const seen = new Map<string, Member>();
  for (const member of members) {
    const key = keyOf(body, member);
    const name = names.find((one) => isSameButCase(one, key));
    if (name === undefined) continue;
    if (seen.has(name) || key !== name) throw wrong(`The field '${name}' is given twice, or in other letters.`);
    seen.set(name, member);
  }
  return seen;
}

/** As readers have it that do not care: some letters have no other case but by way of the upper one. */
function isSameButCase(name: string, key: string): boolean {
  return key === name || (key.length === name.length && key.toUpperCase().toLowerCase() === name.toLowerCase());
}

function messageOf(value: unknown): RpcMessage {
  if (!isObject(value)) throw wrong('A message must be a JSON object.');
  const { id = null, method = null, params = {} } = value;
  if (id !== null && typeof id !== 'string' && typeof id !== 'number')
    throw wrong("The field 'id' must be text or a number.");
  if (method !== null && typeof method !== 'string') throw wrong("The field 'method' must be text.");
  if (!isObject(params)) throw wrong("The field 'params' must be an object.");
  return { id, method, params };
}

/** The name of a tool, an address or a task: text of a sane length. Throws where it is none. */
export function parseRpcName(value: unknown, name: string): string {
  if (typeof value === 'string' && value !== '' && value.length <= NAME_CHARS_MAX) return value;
  throw wrong(`The field 'params.${name}' must be text of 1 to ${NAME_CHARS_MAX} characters.`);
}

export function wrong(detail: string): Fault {
  return new Fault('invalid_request', { detail });
}
