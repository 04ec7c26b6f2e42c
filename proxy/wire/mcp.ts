import { Fault } from '#core/fault.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import { headerOf } from '../headers.ts';
import type { HeaderMap } from '../inbound/call.ts';
import { isObject } from './bytes.ts';
import { parseName } from './json-request.ts';
import { parseRpc, parseRpcName, type RpcMessage, wrong } from './json-rpc.ts';
import { jsonRpcDialect } from './json-rpc-dialect.ts';
import { type Counted, mcpMeter } from './mcp-meter.ts';
import type { Params } from './path-pattern.ts';
import { askedWithoutTokens } from './unmetered.ts';
import type { AnswerHead, Asked, CallHead, Meter, Wire } from './wire.ts';

/** The Model Context Protocol over HTTP, in its revisions from 2024-11-05 to 2026-07-28. The path names the server. */

interface McpAsked extends Asked {
  readonly counted: readonly Counted[];
}

export const mcpDialect = jsonRpcDialect(['/mcp/']);

/** What is billed, and where its message names what it is for. Everything else is free. */
const METERED: ReadonlyMap<string | null, { readonly unit: Unit; readonly name: string }> = new Map([
  ['tools/call', { unit: 'tool_calls', name: 'name' }],
  ['resources/read', { unit: 'resource_reads', name: 'uri' }],
  ['prompts/get', { unit: 'prompt_reads', name: 'name' }],
]);
const DECISIVE = ['name', 'uri', 'taskId', '_meta'];

/** It would tell each caller of everybody's, for all of them come with one credential. */
const EVERYBODYS = 'tasks/list';
/** From this revision on hanging up cancels, headers say what the body says, and there are no sessions. */
const STATELESS = '2026-07-28';
/** Completions that a server may ask its client for within one answer, as far as a budget holds them. */
const SAMPLINGS_MAX = 16n;

export const mcp = {
  name: 'mcp',
  family: 'mcp',
  dialect: mcpDialect,
  endpoints: (['POST', 'GET', 'DELETE'] as const).flatMap((method) => [
    { method, path: '/mcp/{upstream}' },
    { method, path: '/mcp/{upstream}/' },
  ]),
  operation: 'execute_tool',
  facts: {
    units: ['tool_calls', 'resource_reads', 'prompt_reads', 'sampling_requests', 'tasks'],
    usage: 'one for each result: of a tool that failed too, of an error or `input_required` none',
    estimated: 'what is open when a stream ends, in revisions in which it runs on',
    edited: null,
  },

  parse(body: Uint8Array, call: CallHead, { upstream = '' }: Params): McpAsked {
    const version = headerOf(call.headers, 'mcp-protocol-version') ?? '';
    const isStateless = version >= STATELESS;
    const session = parseName(headerOf(call.headers, 'mcp-session-id'));
    const base = { ...askedWithoutTokens(upstream, 'free'), session, counted: [], anyBelow: true };
    if (call.method === 'DELETE') return base;
    // The server's own stream: it runs until somebody leaves.
    if (call.method === 'GET') {
      return {
        ...base,
        metering: 'usage',
        stream: true,
        cancelOnGone: true,
        bounds: { sampling_requests: SAMPLINGS_MAX },
      };
    }
    const messages = parseRpc(body, DECISIVE);
    const [first] = messages;
    if (isStateless) checkHeaders(messages, call.headers, version);
    if (messages.some(({ method }) => method === EVERYBODYS))
      throw wrong(`'${EVERYBODYS}' would list everybody's tasks.`);
    const common = {
      callId: first && messages.length === 1 ? first.id : null,
      cancelOnGone: isStateless,
      once: true,
      run: parseName(first?.params.taskId),
    };
    const metered = messages.filter(({ method }) => METERED.has(method));
    // A server that runs it all the same would answer nothing by which it could be counted.
    if (metered.some(({ id }) => id === null)) throw wrong("A call must have an 'id'.");
    if (metered.length === 0) return { ...base, ...common };
    const counted = metered.map(({ id, method }) => ({ id, unit: unitOf(method) }));
    if (new Set(counted.map(({ id }) => JSON.stringify(id))).size < counted.length) {
      throw wrong('Two messages have the same id.');
    }
    return {
      ...base,
      ...common,
      model: modelOf(metered, upstream),
      anyBelow: false,
      metering: 'usage',
      bounds: boundsOf(counted),
      counted,
    };
  },

  rewrite: (body: Uint8Array): Uint8Array => body,
  meter: (asked: McpAsked, answer: AnswerHead): Meter => mcpMeter(asked.counted, asked.cancelOnGone === true, answer),
  answerHeaders,
} as const satisfies Wire;

function unitOf(method: string | null): Unit {
  return METERED.get(method)?.unit ?? 'calls';
}

/** One call has one model, by which it is allowed, limited and priced: a tool as `server/tool`, all else as its server. */
function modelOf(metered: readonly RpcMessage[], upstream: string): string {
  const models = new Set(
    metered.map(({ method, params }) => {
      return method === 'tools/call' ? `${upstream}/${parseRpcName(params.name, 'name')}` : upstream;
    }),
  );
  const [model = upstream] = models;
  if (models.size > 1) throw wrong('A batch may call one tool only, as often as it likes.');
  return model;
}

function boundsOf(counted: readonly Counted[]): Counts {
  const bounds: Partial<Record<Unit, bigint>> = {
    calls: 1n,
    tasks: BigInt(counted.length),
    sampling_requests: SAMPLINGS_MAX,
  };
  for (const { unit } of counted) bounds[unit] = (bounds[unit] ?? 0n) + 1n;
  return bounds;
}

/** Who looks at the headers on the way must not be told something else than the server. */
function checkHeaders(messages: readonly RpcMessage[], headers: HeaderMap, version: string): void {
  const [message] = messages;
  if (!message || messages.length > 1) throw wrong(`A body of revision ${STATELESS} holds one message.`);
  const { method, params } = message;
  if (method === null) return;
  checkHeader(headers, 'mcp-method', method);
  const name = params[METERED.get(method)?.name ?? ''];
  if (typeof name === 'string') checkHeader(headers, 'mcp-name', name);
  const said = isObject(params._meta) ? params._meta['io.modelcontextprotocol/protocolVersion'] : undefined;
  if (said !== undefined && said !== version) throw mismatch('mcp-protocol-version');
}

/** One that is missing is for the server to judge: what counts here is the body. */
function checkHeader(headers: HeaderMap, name: string, said: string): void {
  const value = headerOf(headers, name);
  if (value !== undefined && decodedHeader(value) !== said) throw mismatch(name);
}

function mismatch(header: string): Fault {
  return new Fault('header_mismatch', { detail: `The header '${header}' says something else than the body.` });
}

const ENCODED = /^=\?base64\?([A-Za-z0-9+/=]*)\?=$/;

/** Names that are no plain text stand in a header in base64. Undefined where that is none. */
function decodedHeader(value: string): string | undefined {
  const encoded = ENCODED.exec(value)?.[1];
  if (encoded === undefined) return value;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(atob(encoded), (one) => one.charCodeAt(0)));
  } catch {
    return undefined;
  }
}

/** How to log in at the server is no business of the caller, whose key is for us. */
function answerHeaders({ 'www-authenticate': _, ...others }: HeaderMap): HeaderMap {
  return others;
}
