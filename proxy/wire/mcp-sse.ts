import { ByteBuffer, decodeUtf8, EMPTY, encodeUtf8, find, needle } from './bytes.ts';
import { parseName } from './json-request.ts';
import { mcp } from './mcp.ts';
import { mcpMeter } from './mcp-meter.ts';
import type { Params } from './path-pattern.ts';
import { dataOf, SseSplitter, type SseVisitor } from './sse.ts';
import { type AnswerHead, type Asked, type CallHead, isEventStream, type Meter, type Wire } from './wire.ts';

/**
 * MCP's transport of 2024-11-05: a stream (GET) whose first event says where messages are to be sent (POST), and in which
 * their results come. A call of a tool counts when the server has taken it: its result comes in another answer.
 */
interface SseAsked extends Asked {
  readonly counted: ReturnType<typeof mcp.parse>['counted'];
  /** Of the stream: its path below the server's address, and that address as the caller knows it. */
  readonly own: { readonly path: string; readonly address: string };
}

const SERVER = /^\/mcp\/[^/]+/;

export const mcpSse = {
  ...mcp,
  name: 'mcp-sse',
  endpoints: [
    // Any path takes messages, which are looked at; a stream is asked for at one that is named after it.
    { method: 'GET', path: '/mcp/{upstream}/sse' },
    { method: 'GET', path: '/mcp/{upstream}/{path+}/sse' },
    { method: 'POST', path: '/mcp/{upstream}/{path+}' },
  ],
  facts: {
    ...mcp.facts,
    usage: 'one for each call that the server has taken: its result comes in another answer',
    estimated: null,
    edited: 'the `endpoint` of a stream, which becomes an address of ours',
  },

  parse(body: Uint8Array, call: CallHead, params: Params): SseAsked {
    const [address = ''] = SERVER.exec(call.path) ?? [];
    const query = new URLSearchParams(call.query);
    const session = parseName(query.get('sessionId') ?? query.get('session_id'));
    const asked = mcp.parse(body, call, params);
    return { ...asked, session: session ?? asked.session, own: { path: call.path.slice(address.length), address } };
  },

  meter({ counted, cancelOnGone, own }: SseAsked, answer: AnswerHead): Meter {
    const meter = mcpMeter(counted, cancelOnGone === true, answer);
    const { from } = answer;
    if (counted.length > 0 || !from || !isEventStream(answer)) return meter;
    const upstream = `${from.origin}${from.basePath}`;
    return endpointMeter(meter, (told) => addressOf(told, `${upstream}${own.path}`, `${upstream}/`, `${own.address}/`));
  },
} as const satisfies Wire;

/** What is below the server's address, below ours. Undefined for what leads around the gateway. */
function addressOf(told: string, base: string, upstream: string, own: string): string | undefined {
  if (!URL.canParse(told, base)) return undefined;
  const { href } = new URL(told, base);
  return href.startsWith(upstream) ? own + href.slice(upstream.length) : undefined;
}

const ENDPOINT = needle('endpoint');
/** Nothing else may stand before it, so that no text of a message is taken for it. */
const IS_ENDPOINT = /^(?:[^\r\n]*[\r\n]+)*?event: ?endpoint[\r\n]/;

/** Passes whole events. One that tells an address that is none of ours is not passed at all. */
function endpointMeter(meter: Meter, addressAt: (told: string) => string | undefined): Meter {
  const splitter = new SseSplitter();
  const out = new ByteBuffer();
  const visit: SseVisitor = (kind, bytes, start, end) => {
    const isEndpoint = kind === 'event' && find(bytes, ENDPOINT, start, end) >= 0 && isNamed(bytes, start, end);
    if (!isEndpoint) {
      const part = bytes.subarray(start, end);
      meter.push(part);
      out.append(part);
      return;
    }
    const data = dataOf(bytes, start, end);
    const address = data && addressAt(decodeUtf8(data).trim());
    if (address !== undefined) out.append(encodeUtf8(`event: endpoint\ndata: ${address}\n\n`));
  };
  const taken = (): Uint8Array => {
    const bytes = out.view().slice();
    out.clear();
    return bytes;
  };
  return {
    ...meter,
    edits: true,
    push(chunk) {
      splitter.push(chunk, visit);
      return taken();
    },
    end() {
      const rest = splitter.rest();
      if (rest.length === 0) return EMPTY;
      visit('event', rest, 0, rest.length);
      return taken();
    },
  };
}

function isNamed(bytes: Uint8Array, start: number, end: number): boolean {
  return IS_ENDPOINT.test(decodeUtf8(bytes.subarray(start, end)));
}
