import { headerOf } from './headers.ts';
import type { HeaderMap } from './inbound/call.ts';

/** W3C trace context: the caller's trace goes on with a span of ours; without one a trace begins here. */
export interface Trace {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly sampled: boolean;
  /** `traceparent` for the upstream. */
  readonly header: string;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const TRACE_ID_WORDS = 4;
const SPAN_ID_WORDS = 2;
const ZEROS = /^0+$/;

/** 32 random bits each; refilled in one go, since each refill is a call into the runtime. */
const pool = new Uint32Array(2048);
let poolUsed = pool.length;

export function traceOf(headers: HeaderMap): Trace {
  const spanId = randomHex(SPAN_ID_WORDS);
  const given = headerOf(headers, 'traceparent');
  const [, version, traceId, parentSpanId, flags] = (given !== undefined && TRACEPARENT.exec(given)) || [];
  if (traceId && parentSpanId && flags && version !== 'ff' && !ZEROS.test(traceId) && !ZEROS.test(parentSpanId)) {
    const sampled = (Number.parseInt(flags, 16) & 1) === 1;
    return { traceId, spanId, parentSpanId, sampled, header: `00-${traceId}-${spanId}-${flags}` };
  }
  const own = randomHex(TRACE_ID_WORDS);
  return { traceId: own, spanId, parentSpanId: null, sampled: true, header: `00-${own}-${spanId}-01` };
}

function randomHex(words: number): string {
  if (poolUsed + words > pool.length) {
    crypto.getRandomValues(pool);
    poolUsed = 0;
  }
  let text = '';
  for (const end = poolUsed + words; poolUsed < end; poolUsed++) {
    text += (pool[poolUsed] as number).toString(16).padStart(8, '0');
  }
  return text;
}
