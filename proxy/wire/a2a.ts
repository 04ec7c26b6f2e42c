import { Fault } from '#core/fault.ts';
import { ownOrigin } from '../headers.ts';
import { cardMeter } from './a2a-card.ts';
import { a2aMeter, type Sent } from './a2a-meter.ts';
import { isObject } from './bytes.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { parseBody, parseName } from './json-request.ts';
import { parseRpc, wrong } from './json-rpc.ts';
import { jsonRpcDialect } from './json-rpc-dialect.ts';
import type { Params } from './path-pattern.ts';
import { askedWithoutTokens, SILENT_METER } from './unmetered.ts';
import type { AnswerHead, Asked, CallHead, Meter, Wire, WireEndpoint } from './wire.ts';

/** The Agent2Agent protocol, revisions 0.3 and 1.0, as JSON-RPC and as HTTP+JSON. The path names the agent. */

type A2aAsked = Asked & ({ readonly kind: 'free' } | { readonly kind: 'card'; readonly ownUrl: string } | SentAsked);
interface SentAsked {
  readonly kind: 'send';
  readonly sent: Sent;
}

export const a2aDialect = jsonRpcDialect(['/a2a/']);

const SENDS: ReadonlyMap<string, { readonly stream: boolean }> = new Map([
  ['message/send', { stream: false }],
  ['message/stream', { stream: true }],
  ['SendMessage', { stream: false }],
  ['SendStreamingMessage', { stream: true }],
]);
const CARDS = new Set(['agent/getAuthenticatedExtendedCard', 'GetExtendedAgentCard']);
const SUBSCRIBES = new Set(['tasks/resubscribe', 'SubscribeToTask']);
/** They would tell each caller of everybody's, for all come with one credential. */
const LISTS = new Set(['tasks/list', 'ListTasks']);
const FREE = new Set([
  ...['tasks/get', 'tasks/cancel', 'GetTask', 'CancelTask'],
  ...['set', 'get', 'list', 'delete'].map((verb) => `tasks/pushNotificationConfig/${verb}`),
  ...['Create', 'Get', 'List', 'Delete'].map(
    (verb) => `${verb}TaskPushNotificationConfig${verb === 'List' ? 's' : ''}`,
  ),
  'ListTaskPushNotificationConfig',
]);

/** Of the HTTP binding, in lower case: some servers do not tell. Below whatever path, tenant or version it stands. */
const SEND_PATH = /\/message:(send|stream)$/;
const LIST_PATH = /\/tasks$/;
const TASK_PATH = /\/tasks\/([^/]+?)(:cancel|:subscribe|\/pushnotificationconfigs(\/[^/]+)?)?$/;
const CARD_PATH = /(^\/\.well-known\/agent(-card)?\.json|\/extendedagentcard|\/v1\/card)$/;

const A2A = {
  name: 'a2a',
  family: 'a2a',
  operation: 'invoke_agent',
  facts: {
    units: ['messages', 'tasks', 'duration_ms'],
    usage: 'a message that is answered without an error, each task that the answer is the first to name',
    estimated: null,
    edited: "the addresses of an agent's card, without those that lead elsewhere and its signatures",
  },

  parse(body: Uint8Array, call: CallHead, { upstream = '' }: Params): A2aAsked {
    const base = { ...askedWithoutTokens(upstream, 'free'), kind: 'free' as const, anyBelow: true };
    const below = pathBelow(call.path);
    const card = { ...base, kind: 'card' as const, ownUrl: `${ownOrigin(call.headers)}/a2a/${upstream}` };
    if (SEND_PATH.test(below) && call.method === 'POST') {
      const { message } = parseBody(body, MESSAGE);
      return sendOf(base, message, null, false, below.endsWith('stream'));
    }
    if (LIST_PATH.test(below)) throw wrong("A list would tell of everybody's tasks.");
    const task = TASK_PATH.exec(below);
    if (task) {
      return {
        ...base,
        run: parseName(/\/tasks\/([^/:]+)/i.exec(call.path)?.[1]),
        cancelOnGone: task[2] === ':subscribe',
      };
    }
    if (call.method === 'GET' && CARD_PATH.test(below)) return card;
    if (call.method !== 'POST') throw new Fault('route_not_found');

    const [message, ...others] = parseRpc(body, ['message', 'id']);
    if (!message?.method || others.length > 0) throw wrong('The body must be one request of JSON-RPC.');
    const { id: callId, method, params } = message;
    const send = SENDS.get(method);
    if (send) return sendOf(base, params.message, callId, true, send.stream);
    if (CARDS.has(method)) return { ...card, callId };
    if (LISTS.has(method)) throw wrong(`'${method}' would tell of everybody's tasks.`);
    const asked = { ...base, callId, run: parseName(params.id), cancelOnGone: SUBSCRIBES.has(method) };
    // What an extension of the protocol costs, nobody knows.
    return FREE.has(method) || SUBSCRIBES.has(method) ? asked : { ...asked, metering: 'unmetered', once: true };
  },

  rewrite: (body: Uint8Array): Uint8Array => body,

  meter(asked: A2aAsked, answer: AnswerHead): Meter {
    if (asked.kind === 'send') return a2aMeter(asked.sent, answer);
    const { status, from } = answer;
    if (asked.kind !== 'card' || status >= 300 || !from) return SILENT_METER;
    return cardMeter(`${from.origin}${from.basePath}`, asked.ownUrl);
  },
} as const;

const MESSAGE = new Set(['message']);
/** The most tasks of one message that a budget holds. */
const TASKS_HELD = 1n;

function sendOf(base: Asked, value: unknown, callId: Sent['callId'], isRpc: boolean, stream: boolean): A2aAsked {
  const message = isObject(value) ? value : {};
  const task = parseName(message.taskId);
  return {
    ...base,
    kind: 'send',
    metering: 'usage',
    anyBelow: false,
    stream,
    callId,
    once: true,
    timed: true,
    run: task,
    session: parseName(message.contextId),
    bounds: { calls: 1n, messages: 1n, tasks: TASKS_HELD },
    sent: { callId, isRpc, task },
  };
}

/** Below the agent's name, as a server may read it. Throws where nobody can. */
function pathBelow(path: string): string {
  try {
    return decodeURIComponent(path.replace(/^\/a2a\/[^/]+/, ''))
      .toLowerCase()
      .replace(/\/+$/, '');
  } catch {
    throw new Fault('route_not_found');
  }
}

function below(method: WireEndpoint['method'], ...paths: string[]): WireEndpoint[] {
  return paths.map((path) => ({ method, path: `/a2a/{upstream}${path}` }));
}

/** The HTTP binding: its errors are google.rpc.Status. It stands before the other, which takes every path. */
export const a2aHttp = {
  ...A2A,
  dialect: geminiDialect,
  endpoints: [
    ...below('POST', '/message:send', '/{base+}/message:send', '/message:stream', '/{base+}/message:stream'),
    ...below('POST', '/tasks/{task+}', '/{base+}/tasks/{task+}'),
    ...below('GET', '/{path+}'),
    ...below('DELETE', '/{path+}'),
  ],
} as const satisfies Wire;

export const a2a = {
  ...A2A,
  dialect: a2aDialect,
  endpoints: below('POST', '', '/', '/{path+}'),
} as const satisfies Wire;
