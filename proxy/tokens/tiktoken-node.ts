import { Worker } from 'node:worker_threads';
import type { CountAnswer, CountQuestion } from './tiktoken-thread-node.ts';
import { encodingOf, type TokenCounter } from './token-counter.ts';

/** Longer texts stay at their bound. */
const TEXT_CHARS_MAX = 2_000_000;
/** Who waits for a count holds up a call. */
const ANSWER_MS = 2_000;
const WAITING_MAX = 1_000;
/** Of all texts that the thread has before it, those included that nobody waits for any more. */
const QUEUE_CHARS_MAX = 16_000_000;
/** A run without blanks takes time by the square of its length: one such text must not keep the thread from all others. */
const STUCK_MS = 5_000;

/**
 * Counts with tiktoken, in a thread of its own that starts with the first question: nothing of it is loaded in a gateway
 * that never needs it, and no count holds up other calls. A thread that dies, or is ended because it has said nothing for too
 * long, is started again by the next question.
 */
export function tiktokenCounter({ stuckMs = STUCK_MS } = {}): TokenCounter & { close(): Promise<void> } {
  const waiting = new Map<number, (count: bigint | undefined) => void>();
  /** The length of each text that the thread has before it. */
  const queued = new Map<number, number>();
  let queuedChars = 0;
  let thread: Worker | undefined;
  let watch: ReturnType<typeof setTimeout> | undefined;
  let nextId = 0;

  function start(): Worker {
    const started = new Worker(new URL('./tiktoken-thread-node.ts', import.meta.url));
    started.unref();
    started.on('message', ({ id, count }: CountAnswer) => {
      if (thread !== started) return;
      queuedChars -= queued.get(id) ?? 0;
      queued.delete(id);
      watchThread();
      waiting.get(id)?.(BigInt(count));
    });
    const ended = (): void => {
      if (thread === started) forgetThread();
    };
    started.on('error', ended);
    started.on('exit', ended);
    return started;
  }

  function forgetThread(): Worker | undefined {
    const last = thread;
    thread = undefined;
    queued.clear();
    queuedChars = 0;
    watchThread();
    for (const answer of [...waiting.values()]) answer(undefined);
    return last;
  }

  /** From now on: it has just said something, or got its first text. */
  function watchThread(): void {
    clearTimeout(watch);
    if (queued.size > 0) watch = setTimeout(() => void forgetThread()?.terminate(), stuckMs).unref();
  }

  return {
    count(model, text) {
      const encoding = encodingOf(model);
      if (!encoding || text.length > TEXT_CHARS_MAX || waiting.size >= WAITING_MAX) return Promise.resolve(undefined);
      if (text === '') return Promise.resolve(0n);
      if (queuedChars + text.length > QUEUE_CHARS_MAX) return Promise.resolve(undefined);
      thread ??= start();
      const id = nextId++;
      const question: CountQuestion = { id, encoding, text };
      const { promise, resolve } = Promise.withResolvers<bigint | undefined>();
      const timer = setTimeout(() => answer(undefined), ANSWER_MS);
      function answer(count: bigint | undefined): void {
        waiting.delete(id);
        clearTimeout(timer);
        resolve(count);
      }
      waiting.set(id, answer);
      queued.set(id, text.length);
      queuedChars += text.length;
      if (queued.size === 1) watchThread();
      thread.postMessage(question);
      return promise;
    },

    async close() {
      await forgetThread()?.terminate();
    },
  };
}
