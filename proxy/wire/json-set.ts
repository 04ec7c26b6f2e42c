import { encodeUtf8 } from './bytes.ts';
import { replaceModel } from './json-request.ts';
import { type Edit, edited, keyOf, membersOf } from './json-span.ts';
import type { RequestEdits } from './wire.ts';

/**
 * Sets one member to a JSON text, below as many objects as there are names, with as few changed bytes as can be: where it
 * stands it is replaced, wherever it does not it is put in, with the objects around it. A name may have other spellings;
 * the first is the one that is put in.
 */
export function setMember(
  body: Uint8Array,
  [names, ...below]: readonly [readonly string[], ...(readonly string[])[]],
  value: string,
  start = 0,
  end = body.length,
): Edit[] {
  const members = membersOf(body, start, end) ?? [];
  const found = members.filter((member) => names.includes(keyOf(body, member)));
  const [next, ...rest] = below;
  if (found.length > 0) {
    return found.flatMap(({ valueStart, valueEnd }) =>
      next !== undefined && membersOf(body, valueStart, valueEnd)
        ? setMember(body, [next, ...rest], value, valueStart, valueEnd)
        : [{ start: valueStart, end: valueEnd, insert: encodeUtf8(wrapped(below, value)) }],
    );
  }
  const text = wrapped([names, ...below], value).slice(1, -1);
  const last = members.at(-1);
  if (last) return [{ start: last.valueEnd, end: last.valueEnd, insert: encodeUtf8(`,${text}`) }];
  const open = body.indexOf(OPEN_BRACE, start) + 1;
  return [{ start: open, end: open, insert: encodeUtf8(text) }];
}

const OPEN_BRACE = 0x7b;

function wrapped(path: readonly (readonly string[])[], value: string): string {
  return path.reduceRight((inner, [name]) => `{${JSON.stringify(name)}:${inner}}`, value);
}

/** A body with the model and the most output that a route and a limit want; `outputMax`: where that stands, if it can. */
export function rewriteJson(
  body: Uint8Array,
  { model, outputTokensMax }: RequestEdits,
  outputMax: readonly [readonly string[], ...(readonly string[])[]] | null,
): Uint8Array {
  const changes = model === null ? [] : replaceModel(body, model);
  if (outputTokensMax !== undefined && outputMax !== null) {
    changes.push(...setMember(body, outputMax, String(outputTokensMax)));
  }
  return changes.length === 0
    ? body
    : edited(
        body,
        changes.sort((a, b) => a.start - b.start),
      );
}
