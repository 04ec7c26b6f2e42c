import { Fault } from '#core/fault.ts';
import { encodeUtf8, isObject } from './bytes.ts';
import { type Fields, parseFlag, replaceModel } from './json-request.ts';
import { type Edit, edited, findMember, keyOf, membersOf } from './json-span.ts';
import type { Asked, RequestEdits } from './wire.ts';

/** `stream_options.include_usage`: what the client wants, and how it is asked for where the client does not. */
export function parseUsageAsked(fields: Fields): boolean {
  const options = fields.stream_options ?? null;
  if (options !== null && !isObject(options)) {
    throw new Fault('invalid_request', { detail: "The field 'stream_options' must be an object." });
  }
  return options !== null && parseFlag(options, 'include_usage') === true;
}

export function rewriteStreamed(body: Uint8Array, asked: Asked, edits: RequestEdits): Uint8Array {
  const askForUsage = edits.includeUsage && asked.stream && !asked.usageAsked;
  if (edits.model === null && !askForUsage) return body;
  const changes: Edit[] = edits.model === null ? [] : replaceModel(body, edits.model);
  if (askForUsage) changes.push(...includeUsage(body));
  return edited(
    body,
    changes.sort((a, b) => a.start - b.start),
  );
}

/** Sets `stream_options.include_usage` to true with as few changed bytes as can be. */
function includeUsage(body: Uint8Array): Edit[] {
  const members = membersOf(body) ?? [];
  const options = findMember(body, members, 'stream_options');
  if (!options) {
    const last = members[members.length - 1];
    // A request that got here has a model, so there is a last member.
    return last ? [insertAt(last.valueEnd, ',"stream_options":{"include_usage":true}')] : [];
  }
  const inner = membersOf(body, options.valueStart, options.valueEnd);
  if (!inner)
    return [{ start: options.valueStart, end: options.valueEnd, insert: encodeUtf8('{"include_usage":true}') }];
  const flags = inner.filter((member) => keyOf(body, member) === 'include_usage');
  if (flags.length > 0) {
    return flags.map(({ valueStart, valueEnd }) => ({ start: valueStart, end: valueEnd, insert: encodeUtf8('true') }));
  }
  return [insertAt(options.valueStart + 1, inner.length === 0 ? '"include_usage":true' : '"include_usage":true,')];
}

function insertAt(at: number, text: string): Edit {
  return { start: at, end: at, insert: encodeUtf8(text) };
}
