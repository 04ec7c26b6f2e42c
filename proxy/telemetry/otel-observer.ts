import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import type { Fault } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import type { Clock } from '#core/time.ts';
import type { Observer } from '../observer.ts';
import type { CallMetrics } from './call-metrics.ts';
import { type SpanOrigin, spanOf } from './call-span.ts';
import { tokensOf } from './inference.ts';
import { unpricedLog } from './unpriced-log.ts';

export interface OtelObserverOptions {
  metrics: CallMetrics;
  log: Log;
  clock: Clock;
  /** Where spans go; absent when nobody wants them, and then none are made. */
  spans: { origin: SpanOrigin; take: (span: ReadableSpan) => void } | undefined;
}

/** A fault that comes again within this time is counted, and said with the next that is logged. */
const REPEAT_MS = 1000;

/** Tells OpenTelemetry and the log what the gateway does. Calls are not logged one by one: that is what events are for. */
export function otelObserver({ metrics, log, clock, spans }: OtelObserverOptions): Observer {
  const sayUnpriced = unpricedLog(log);
  const said = new Map<string, { atMs: number; repeated: number }>();

  /** Faults that are ours, or an upstream's; what a caller did wrong is for debugging only. */
  function logFault(fault: Fault, requestId: string): void {
    if (fault.status < 500) {
      log.debug({ code: fault.code, detail: fault.detail, requestId }, fault.message);
      return;
    }
    const nowMs = clock();
    const last = said.get(fault.code);
    if (last && nowMs - last.atMs < REPEAT_MS) {
      last.repeated++;
      return;
    }
    said.set(fault.code, { atMs: nowMs, repeated: 0 });
    const fields = { code: fault.code, story: fault.story, requestId, repeated: last?.repeated ?? 0, err: fault.cause };
    if (fault.code === 'internal') log.error(fields, fault.message);
    else log.warn(fields, fault.message);
  }

  return {
    callStarted() {
      // Counted when it ends; how many there are is a gauge.
    },
    callEnded(call, event, status) {
      sayUnpriced(event.data);
      const tokens = tokensOf(event.data);
      const attributes = metrics.ended(event.data, tokens);
      if (spans && call.trace.sampled) spans.take(spanOf({ call, event, status, attributes, tokens }, spans.origin));
    },
    callRefused(call, { code, limit }) {
      metrics.refused(code);
      log.debug({ code, limit, customer: call.customer, key: call.key, requestId: call.id }, 'A limit refused a call.');
    },
    faulted(fault, requestId) {
      metrics.faulted(fault.code);
      logFault(fault, requestId);
    },
  };
}
