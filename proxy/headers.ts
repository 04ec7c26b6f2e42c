import { FAMILIES } from '#config/wires.ts';
import type { HeaderMap } from './inbound/call.ts';
import type { Trace } from './trace.ts';
import type { Target } from './upstream/route-table.ts';
import { idHeaders, REQUEST_ID } from './wire/dialect.ts';

/** Every header that does not simply pass, in both directions. What is in no list here passes as it is. */

/** RFC 9110, section 7.6.1, and what people send in its spirit: they belong to one connection. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

/** Where the SDKs put a key. */
export const SECRET_HEADERS = ['authorization', 'x-api-key', 'x-goog-api-key', 'api-key'] as const;

const REQUEST_DROPPED: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  ...SECRET_HEADERS,
  // Made anew for the upstream.
  'host',
  'content-length',
  'expect',
  'accept-encoding',
  'traceparent',
  // The caller's own business with us, or with the browser.
  'cookie',
  'origin',
  'referer',
  'baggage',
  // Some servers take another method, or path, than the one that was checked.
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
  // Google leaves out of an answer what it does not name: the usage too.
  'x-goog-fieldmask',
  // Which account pays is the operator's choice: it comes with the credential.
  'openai-organization',
  'openai-project',
  'x-goog-user-project',
  // They belong to the caller's signature, and ours goes out.
  'x-amz-date',
  'x-amz-security-token',
  'x-amz-content-sha256',
  // Who the caller is and how it got here.
  'forwarded',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
  'true-client-ip',
  'cf-connecting-ip',
]);

/** All of ours are for us: who it was for, labels, and what may come. */
const OURS = 'x-weir-';

const RESPONSE_DROPPED: ReadonlySet<string> = new Set([
  'ratelimit',
  'ratelimit-policy',
  ...HOP_BY_HOP,
  // Ours goes out under these names; the upstream's own is passed under another.
  REQUEST_ID,
  'request-id',
  'x-amzn-requestid',
  'date',
  'server',
  'set-cookie',
  // They speak about the upstream's host, and would be taken to speak about ours.
  'alt-svc',
  'strict-transport-security',
  'public-key-pins',
  'nel',
  'report-to',
  'reporting-endpoints',
  'expect-ct',
  // The operator's account, not the caller's.
  'openai-organization',
  'openai-project',
  'anthropic-organization-id',
  'anthropic-workspace-id',
  'x-endpoint-monthly-call-limit',
  'x-trial-endpoint-call-limit',
  'x-trial-endpoint-call-remaining',
]);

/** The operator's own limits at the provider say nothing about the caller's. */
const RESPONSE_DROPPED_PREFIXES = ['x-ratelimit', 'ratelimit', 'anthropic-ratelimit-', 'access-control-', OURS];

/** All but the credential. */
export function requestHeaders(from: HeaderMap, { upstream, family }: Target, trace: Trace): string[] {
  const defaults = FAMILIES[family].headers;
  const named = namedByConnection(from);
  const to: string[] = [];
  for (const name in from) {
    if (REQUEST_DROPPED.has(name) || name.startsWith(OURS)) continue;
    if (named?.has(name) || upstream.headers[name] !== undefined) continue;
    addHeader(to, name, from[name]);
  }
  // The scanner reads plain bytes.
  to.push('accept-encoding', 'identity', 'traceparent', trace.header);
  for (const name in defaults) {
    if (from[name] === undefined && upstream.headers[name] === undefined) addHeader(to, name, defaults[name]);
  }
  for (const name in upstream.headers) addHeader(to, name, upstream.headers[name]);
  return to;
}

/** `lengthChanges`: our edits make the upstream's content-length wrong. */
export function responseHeaders(
  from: HeaderMap,
  requestId: string,
  requestIdHeader: string,
  lengthChanges: boolean,
): string[] {
  const named = namedByConnection(from);
  const to = idHeaders(requestIdHeader, requestId);
  for (const name in from) {
    if (RESPONSE_DROPPED.has(name) || named?.has(name)) continue;
    if (RESPONSE_DROPPED_PREFIXES.some((prefix) => name.startsWith(prefix))) continue;
    if (lengthChanges && name === 'content-length') continue;
    addHeader(to, name, from[name]);
  }
  const upstreamId = headerOf(from, requestIdHeader) ?? headerOf(from, REQUEST_ID);
  if (upstreamId !== undefined) to.push('x-weir-upstream-request-id', upstreamId);
  return to;
}

/** The first value. */
export function headerOf(headers: HeaderMap, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : value?.[0];
}

/** Our own address, as the caller knows it. */
export function ownOrigin(headers: HeaderMap): string {
  const scheme = headerOf(headers, 'x-forwarded-proto') === 'https' ? 'https' : 'http';
  return `${scheme}://${headerOf(headers, 'host') ?? ''}`;
}

/** How it is compressed; undefined where it is not. */
export function encodingOf(headers: HeaderMap): string | undefined {
  const encoding = headerOf(headers, 'content-encoding');
  return encoding === 'identity' ? undefined : encoding;
}

function addHeader(to: string[], name: string, value: HeaderMap[string]): void {
  if (typeof value === 'string') to.push(name, value);
  else if (value) for (const one of value) to.push(name, one);
}

/** `connection: close, x-custom` makes x-custom hop-by-hop too. */
function namedByConnection(headers: HeaderMap): ReadonlySet<string> | undefined {
  const connection = headerOf(headers, 'connection');
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(connection.split(',').map((name) => name.trim().toLowerCase()));
}
