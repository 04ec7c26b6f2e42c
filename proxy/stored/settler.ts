import { faultOf } from '#core/fault.ts';
import type { Observer } from '../observer.ts';
import type { Closing, Sink } from '../sink/sink.ts';
import type { OpenCall, OpenCalls } from './stored.ts';

/**
 * Ends open calls, each once, whoever sees the end: the closing is put down first, so that whatever dies after it, the
 * same event comes of the call again.
 */
export class Settler {
  readonly #calls: OpenCalls;
  readonly #sink: Sink;
  readonly #observer: Observer;
  /** By their ids: the reconciler and a client may see an end at once. */
  readonly #ending = new Set<string>();

  constructor(calls: OpenCalls, sink: Sink, observer: Observer) {
    this.#calls = calls;
    this.#sink = sink;
    this.#observer = observer;
  }

  /** Never rejects: what could not be settled now is found again. */
  async settle(call: OpenCall, closing: Closing): Promise<void> {
    if (this.#ending.has(call.id)) return;
    this.#ending.add(call.id);
    try {
      const counted = await this.#calls.conclude(call, closing);
      if (!counted) return;
      // On record with its own end: should this process die now, the next one closes it with the same event.
      await this.#sink.open({
        reservation: counted.reservation,
        estimate: counted.event,
        estimatedUse: counted.used,
      });
      await this.#sink.close(counted);
      await this.#calls.forget(call);
      this.#observer.callEnded(seenOf(call), counted.event, null);
    } catch (thrown) {
      this.#observer.faulted(faultOf(thrown), call.id);
    } finally {
      this.#ending.delete(call.id);
    }
  }
}

function seenOf({ id, atMs, customer, opening, asked }: OpenCall) {
  const { key, wire, trace_id } = opening.estimate.data;
  const trace = { traceId: trace_id ?? '', spanId: '', parentSpanId: null, sampled: false, header: '' };
  return { id, atMs, customer, key, wire, model: asked.model, stream: asked.stream, trace };
}
