import { canonicalJson } from '#core/canonical-json.ts';

/** Deeper than any event that we make; bounds what a recursion and Postgres' parser go through. */
export const DEPTH_MAX = 32;

/**
 * The canonical text of a JSON value as Postgres can hold it; undefined when it is nested too deep. Two things that JSON
 * allows and Postgres does not are replaced by U+FFFD (U+0000 and halves of surrogate pairs): a client may put them into
 * any name, and an event must not be lost for it.
 */
export function storableJson(value: unknown): string | undefined {
  if (isDeeper(value, DEPTH_MAX)) return undefined;
  const text = canonicalJson(value);
  return UNSTORABLE.test(text) ? canonicalJson(replaced(value)) : text;
}

/**
 * As text what is nested too deep for any JSON writer: cut, and marked so that nobody takes it for an event when it is
 * tried again.
 */
export function cutText(value: unknown): string {
  return storableText(`cut at depth ${DEPTH_MAX}: ${JSON.stringify(cut(value, DEPTH_MAX))}`);
}

function cut(value: unknown, depthMax: number): unknown {
  if (!isTree(value)) return value;
  if (depthMax === 0) return '…';
  if (Array.isArray(value)) return value.map((item) => cut(item, depthMax - 1));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, cut(item, depthMax - 1)]));
}

export function storableText(text: string): string {
  return text.toWellFormed().replaceAll('\u0000', '\ufffd');
}

/** How JSON.stringify writes them. It finds some texts that are fine, which costs no more than a second walk. */
const UNSTORABLE = /\\u0000|\\ud[89a-f]/;

function isDeeper(value: unknown, depthMax: number): boolean {
  if (!isTree(value)) return false;
  return depthMax === 0 || Object.values(value).some((item) => isDeeper(item, depthMax - 1));
}

function replaced(value: unknown): unknown {
  if (typeof value === 'string') return storableText(value);
  if (!isTree(value)) return value;
  if (Array.isArray(value)) return value.map(replaced);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [storableText(name), replaced(item)]));
}

/** Arrays and objects; not a number that is kept as its text. */
function isTree(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !JSON.isRawJSON(value);
}
