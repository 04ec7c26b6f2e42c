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
const ZEROS = /^0+$/;

const HEX_DIGITS = Array.from('0123456789abcdef', (char) => char.charCodeAt(0));
/** Room for the digits of either id, used again each time: an id is made in one piece. */
const TRACE_ID_CODES: number[] = new Array(32).fill(0);
const SPAN_ID_CODES: number[] = new Array(16).fill(0);

/** Filled in one go: each time is a call into the runtime. */
const pool = new Uint8Array(8192);
let poolUsed = pool.length;

export function traceOf(headers: HeaderMap): Trace {
  const spanId = randomHex(SPAN_ID_CODES);
  const given = headerOf(headers, 'traceparent');
  const [, version, traceId, parentSpanId, flags] = (given !== undefined && TRACEPARENT.exec(given)) || [];
  if (traceId && parentSpanId && flags && version !== 'ff' && !ZEROS.test(traceId) && !ZEROS.test(parentSpanId)) {
    const sampled = (Number.parseInt(flags, 16) & 1) === 1;
    return { traceId, spanId, parentSpanId, sampled, header: `00-${traceId}-${spanId}-${flags}` };
  }
  const own = randomHex(TRACE_ID_CODES);
  return { traceId: own, spanId, parentSpanId: null, sampled: true, header: `00-${own}-${spanId}-01` };
}

function randomHex(codes: number[]): string {
  if (poolUsed + codes.length / 2 > pool.length) {
    crypto.getRandomValues(pool);
    poolUsed = 0;
  }
  for (let i = 0; i < codes.length; i += 2) {
    const byte = pool[poolUsed++] as number;
    codes[i] = HEX_DIGITS[byte >> 4] as number;
    codes[i + 1] = HEX_DIGITS[byte & 15] as number;
  }
  return String.fromCharCode(...codes);
}
