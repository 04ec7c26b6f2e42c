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

/** `maxField` is the name under which a model takes a maximum of output that the request does not have. */
export function rewriteStreamed(
  body: Uint8Array,
  asked: Asked,
  edits: RequestEdits,
  maxField: (model: string) => string = newerMaxField,
): Uint8Array {
  const askForUsage = edits.includeUsage && asked.stream && !asked.usageAsked;
  if (edits.model === null && !askForUsage && edits.outputTokensMax === undefined) return body;
  const changes: Edit[] = edits.model === null ? [] : replaceModel(body, edits.model);
  if (askForUsage) changes.push(...includeUsage(body));
  if (edits.outputTokensMax !== undefined) {
    changes.push(...lowerOutput(body, edits.outputTokensMax, maxField(edits.model ?? asked.model)));
  }
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

/** OpenAI's newer models refuse `max_tokens`; most other servers know nothing else. */
function newerMaxField(model: string): string {
  return /(^|\/)(gpt-|chatgpt-|o\d)/.test(model) ? 'max_completion_tokens' : 'max_tokens';
}

/** Where both fields stand, both get it: which of them counts differs between servers. */
function lowerOutput(body: Uint8Array, tokens: bigint, field: string): Edit[] {
  const members = membersOf(body) ?? [];
  const edits: Edit[] = [];
  for (const member of members) {
    const key = keyOf(body, member);
    if (key !== 'max_tokens' && key !== 'max_completion_tokens') continue;
    edits.push({ start: member.valueStart, end: member.valueEnd, insert: encodeUtf8(tokens.toString()) });
  }
  const last = members[members.length - 1];
  return edits.length > 0 || !last ? edits : [insertAt(last.valueEnd, `,"${field}":${tokens}`)];
}

function insertAt(at: number, text: string): Edit {
  return { start: at, end: at, insert: encodeUtf8(text) };
}
