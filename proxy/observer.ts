import type { Fault } from '#core/fault.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import type { Trace } from './trace.ts';

/** The port to telemetry: what the gateway has to tell while it works. Must not throw, and must not wait. */
export interface Observer {
  /** A call has been admitted and goes upstream. */
  callStarted(call: CallSeen): void;
  /** `status` is what the client was told; null when it had left before. */
  callEnded(call: CallSeen, event: UsageEvent, status: number | null): void;
  /** A limit said no: a normal answer. */
  callRefused(call: CallSeen, refusal: RefusalSeen): void;
  /** Anything else that the client was told instead of an answer, or that went wrong behind its back. */
  faulted(fault: Fault, requestId: string): void;
}

export interface CallSeen {
  readonly id: string;
  readonly atMs: number;
  readonly customer: string;
  readonly key: string;
  readonly wire: string;
  readonly model: string;
  readonly stream: boolean;
  readonly trace: Trace;
}

export interface RefusalSeen {
  readonly code: string;
  /** The limit's id. */
  readonly limit: string;
}
