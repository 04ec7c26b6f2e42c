import { describe, expect, it } from 'vitest';
import { traceOf } from './trace.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';

describe('a trace', () => {
  it('goes on with a span of ours under the span of the caller', () => {
    const trace = traceOf({ traceparent: `00-${TRACE}-${SPAN}-01` });
    expect(trace).toMatchObject({ traceId: TRACE, parentSpanId: SPAN, sampled: true });
    expect(trace.spanId).toMatch(/^[0-9a-f]{16}$/);
    expect(trace.spanId).not.toBe(SPAN);
    expect(trace.header).toBe(`00-${TRACE}-${trace.spanId}-01`);
    expect(traceOf({ traceparent: `00-${TRACE}-${SPAN}-00` }).sampled).toBe(false);
    expect(traceOf({ traceparent: `01-${TRACE}-${SPAN}-01-later` }).traceId).toBe(TRACE);
  });

  it('begins here where the caller has none, or none that is valid', () => {
    for (const traceparent of [
      undefined,
      '',
      'nonsense',
      `ff-${TRACE}-${SPAN}-01`,
      `00-${'0'.repeat(32)}-${SPAN}-01`,
      `00-${TRACE}-${'0'.repeat(16)}-01`,
      `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    ]) {
      const trace = traceOf({ traceparent });
      expect(trace.parentSpanId).toBeNull();
      expect(trace.header).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
      expect(trace.traceId).not.toBe(TRACE);
    }
  });

  it('has an id like no other', () => {
    const ids = Array.from({ length: 5_000 }, () => traceOf({}).traceId);
    expect(new Set(ids).size).toBe(ids.length);
  });
});
