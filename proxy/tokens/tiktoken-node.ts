import { Worker } from 'node:worker_threads';
import type { CountAnswer, CountQuestion } from './tiktoken-thread-node.ts';
import { encodingOf, type TokenCounter } from './token-counter.ts';

/** Longer texts stay at their bound: merging a run without blanks can take quadratic time. */
const TEXT_CHARS_MAX = 2_000_000;
/** Who waits for a count holds up a call. */
const ANSWER_MS = 2_000;
const WAITING_MAX = 1_000;

/**
 * Counts with tiktoken, in a thread of its own that starts with the first question: nothing of it is loaded in a gateway
 * that never needs it, and no count holds up other calls. A thread that dies is started again by the next question.
 */
export function tiktokenCounter(): TokenCounter & { close(): Promise<void> } {
  const waiting = new Map<number, (count: bigint | undefined) => void>();
  let thread: Worker | undefined;
  let nextId = 0;

  function start(): Worker {
    const started = new Worker(new URL('./tiktoken-thread-node.ts', import.meta.url));
    started.unref();
    started.on('message', ({ id, count }: CountAnswer) => waiting.get(id)?.(BigInt(count)));
    const ended = (): void => {
      if (thread !== started) return;
      thread = undefined;
      for (const answer of [...waiting.values()]) answer(undefined);
    };
    started.on('error', ended);
    started.on('exit', ended);
    return started;
  }

  return {
    count(model, text) {
      const encoding = encodingOf(model);
      if (!encoding || text.length > TEXT_CHARS_MAX || waiting.size >= WAITING_MAX) return Promise.resolve(undefined);
      if (text === '') return Promise.resolve(0n);
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
      thread.postMessage(question);
      return promise;
    },

    async close() {
      const last = thread;
      thread = undefined;
      for (const answer of [...waiting.values()]) answer(undefined);
      await last?.terminate();
    },
  };
}
