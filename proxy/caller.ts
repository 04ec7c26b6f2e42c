import type { WireFamily } from '#config/wires.ts';
import { Fault } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import { headerOf } from './headers.ts';
import type { Call, HeaderMap } from './inbound/call.ts';

/** Who calls, and for whom: the secret, the checks on its key, and what the caller says about the call. */

const BEARER = /^bearer +(\S+)\s*$/i;
/** The SDKs of AWS sign: our secret is the id of their access key, and what they sign with is of no interest. */
const AWS_KEY_ID = /^AWS4-HMAC-SHA256 +Credential=([^/,\s]+)\//;
/** Browsers can put no header on a socket: OpenAI's SDK names a subprotocol that holds the key. */
const PROTOCOL_KEY = /(?:^|,)\s*openai-insecure-api-key\.([^\s,]+)/;
const SECRET_CHARS_MAX = 512;
const LABELS_MAX = 32;
const LABEL_NAME = /^[A-Za-z0-9_.-]{1,64}$/;
const TEXT_CHARS_MAX = 256;

/** The secret from wherever the SDKs put it. The first place that has one decides: an SDK may also sign, or say `Basic`. Throws `missing_key`. */
export function getSecret(call: Call): string {
  const { headers } = call;
  const authorization = headerOf(headers, 'authorization') ?? '';
  const secret =
    BEARER.exec(authorization)?.[1] ??
    AWS_KEY_ID.exec(authorization)?.[1] ??
    headerOf(headers, 'x-api-key') ??
    headerOf(headers, 'x-goog-api-key') ??
    headerOf(headers, 'api-key') ??
    (call.query.includes('key=') ? new URLSearchParams(call.query).get('key') : null) ??
    PROTOCOL_KEY.exec(headerOf(headers, 'sec-websocket-protocol') ?? '')?.[1];
  if (!secret || secret.length > SECRET_CHARS_MAX) throw new Fault('missing_key');
  return secret;
}

/** Throws unless the key may be used at this instant. */
export function checkKey(policy: KeyPolicy | undefined, nowMs: number): KeyPolicy {
  if (!policy) throw new Fault('invalid_key');
  if (policy.state === 'revoked') throw new Fault('revoked_key');
  if (policy.expiresAtMs !== null && policy.expiresAtMs <= nowMs) throw new Fault('expired_key');
  return policy;
}

/** The query for the upstream: without the key. */
function queryWithoutSecret(query: string): string {
  if (!query.includes('key=')) return query;
  return query
    .split('&')
    .filter((part) => !part.startsWith('key='))
    .join('&');
}

const GOOGLE: ReadonlySet<WireFamily> = new Set(['gemini', 'vertex']);
const NAMES_PARTS: ReadonlySet<string> = new Set(['fields', 'callback']);
const READABLE = /^(json|sse|media)/;

/** Google gives only the fields that a query names, or what nobody here reads: the usage would be missed with the rest. */
export function queryForUpstream(query: string, family: WireFamily): string {
  const left = queryWithoutSecret(query);
  if (left === '' || left === 'alt=sse' || !GOOGLE.has(family)) return left;
  return left.split('&').filter(isWhole).join('&');
}

function isWhole(part: string): boolean {
  for (const [name, value] of new URLSearchParams(part)) {
    // Each may be written with a dollar before it.
    const plain = name.replace(/^\$/, '');
    if (NAMES_PARTS.has(plain) || (plain === 'alt' && !READABLE.test(value))) return false;
  }
  return true;
}

/** `x-weir-user` and its like: text of a sane length, or null when absent. Throws `invalid_request` when it is too long. */
export function textHeader(headers: HeaderMap, name: string): string | null {
  const value = headerOf(headers, name);
  if (value === undefined || value === '') return null;
  if (value.length > TEXT_CHARS_MAX) {
    throw new Fault('invalid_request', { detail: `The header '${name}' is longer than ${TEXT_CHARS_MAX} characters.` });
  }
  return value;
}

/** `x-weir-labels: feature=search,run=42`. The labels of the key win: they are the operator's. Throws `invalid_request`. */
export function labelsOf(headers: HeaderMap, policy: KeyPolicy): Record<string, string> {
  const text = headerOf(headers, 'x-weir-labels');
  if (text === undefined || text === '') return policy.labels;
  const labels: Record<string, string> = {};
  const parts = text.split(',');
  if (parts.length > LABELS_MAX) throw badLabels(`more than ${LABELS_MAX} labels`);
  for (const part of parts) {
    const equals = part.indexOf('=');
    const name = part.slice(0, Math.max(equals, 0)).trim();
    const value = part.slice(equals + 1).trim();
    if (!LABEL_NAME.test(name)) throw badLabels(`'${part.trim().slice(0, 64)}' is not of the form name=value`);
    if (value.length > TEXT_CHARS_MAX) throw badLabels(`the value of '${name}' is too long`);
    labels[name] = value;
  }
  return { ...labels, ...policy.labels };
}

function badLabels(why: string): Fault {
  return new Fault('invalid_request', { detail: `The header 'x-weir-labels' is not valid: ${why}.` });
}
