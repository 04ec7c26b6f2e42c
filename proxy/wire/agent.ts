import { headerOf } from '../headers.ts';
import type { HeaderMap } from '../inbound/call.ts';
import type { Target } from '../upstream/route-table.ts';
import { agentDialect } from './agent-dialect.ts';
import { agentMeter } from './agent-meter.ts';
import type { Params } from './path-pattern.ts';
import { askedWithoutTokens } from './unmetered.ts';
import type { AnswerHead, Asked, CallHead, Meter, Wire } from './wire.ts';

/** Any agent that is asked over HTTP, at whatever paths and in whatever words. The path names it. */

interface AgentAsked extends Asked {
  readonly bytesIn: number;
}

/** What a budget holds of an answer whose length nobody knows. */
const BYTES_OUT_HELD = 1n << 24n;
const PATHS = ['/agents/{upstream}', '/agents/{upstream}/', '/agents/{upstream}/{path+}'];

export const agent = {
  name: 'agent',
  family: 'agent',
  dialect: agentDialect,
  endpoints: (['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const).flatMap((method) =>
    PATHS.map((path) => ({ method, path })),
  ),
  operation: 'invoke_agent',
  facts: {
    units: ['duration_ms', 'bytes_in', 'bytes_out'],
    usage: 'the gateway itself; other units from the headers, paths and events that the upstream’s `units` name',
    estimated: 'an answer that does not state one of its `units`',
    edited: null,
  },

  parse(body: Uint8Array, { method, headers }: CallHead, { upstream = '' }: Params): AgentAsked {
    return {
      ...askedWithoutTokens(upstream, 'free'),
      metering: 'usage',
      stream: (headerOf(headers, 'accept') ?? '').includes('text/event-stream'),
      once: method !== 'GET',
      timed: true,
      bounds: { calls: 1n, bytes_in: BigInt(body.length), bytes_out: BYTES_OUT_HELD },
      bytesIn: body.length,
    };
  },

  rewrite: (body: Uint8Array): Uint8Array => body,
  meter: ({ bytesIn }: AgentAsked, answer: AnswerHead): Meter => agentMeter(bytesIn, answer),
  answerHeaders,
} as const satisfies Wire;

/** What was made is told of at an address of ours, and what stands elsewhere not at all. */
function answerHeaders(headers: HeaderMap, call: CallHead, from: Target | null): HeaderMap {
  const { 'www-authenticate': _, 'content-location': __, location, ...others } = headers;
  if (typeof location !== 'string' || !from) return others;
  const own = /^\/agents\/[^/]+/.exec(call.path)?.[0] ?? '';
  const base = `${from.origin}${from.basePath}`;
  const asked = `${base}${call.path.slice(own.length)}`;
  const to = URL.parse(location, asked)?.href ?? '';
  return to === base || to.startsWith(`${base}/`) ? { ...others, location: `${own}${to.slice(base.length)}` } : others;
}
