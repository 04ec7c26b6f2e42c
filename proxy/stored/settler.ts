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
  readonly #ending = new Map<string, Promise<boolean>>();

  constructor(calls: OpenCalls, sink: Sink, observer: Observer) {
    this.#calls = calls;
    this.#sink = sink;
    this.#observer = observer;
  }

  /** True once its closing is put down: what could not be settled then is found again. Never rejects. */
  settle(call: OpenCall, closing: Closing): Promise<boolean> {
    const known = this.#ending.get(call.id);
    if (known) return known;
    const ending = this.#settle(call, closing).finally(() => this.#ending.delete(call.id));
    this.#ending.set(call.id, ending);
    return ending;
  }

  async #settle(call: OpenCall, closing: Closing): Promise<boolean> {
    let isDown = false;
    try {
      const counted = await this.#calls.conclude(call, closing);
      isDown = true;
      if (!counted) return true;
      // On record with its own end: should this process die now, the next one closes it with the same event.
      const { reservation, event, used } = counted;
      await this.#sink.open({ reservation, estimate: event, estimatedUse: used });
      await this.#sink.close(counted);
      await this.#calls.forget(call);
      this.#observer.callEnded(seenOf(call), event, null);
    } catch (thrown) {
      this.#observer.faulted(faultOf(thrown), call.id);
    }
    return isDown;
  }
}

function seenOf({ id, atMs, customer, opening, asked }: OpenCall) {
  const { key, wire, trace_id } = opening.estimate.data;
  const trace = { traceId: trace_id ?? '', spanId: '', parentSpanId: null, sampled: false, header: '' };
  return { id, atMs, customer, key, wire, model: asked.model, stream: asked.stream, trace };
}
