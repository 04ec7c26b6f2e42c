/**
 * The load, in a process of its own: `node bench/load.ts JSON`, with a result as one line of JSON.
 *
 * `closed`: so many connections, each sends when it has its answer; how much goes through (where there is no wrk).
 * `rate`: requests begin on a clock, whether or not those before have ended, so that a slow answer delays none after
 * it and hides nothing. `streams`: the same with streams, timed to the first byte of the answer.
 * `hold`: opens streams and keeps them until the process is ended.
 */
import { performance } from 'node:perf_hooks';
import { Pool } from 'undici';

export interface LoadOptions {
  mode: 'closed' | 'rate' | 'streams' | 'hold';
  url: string;
  headers: Record<string, string>;
  body: string;
  /** Requests per second; connections for `closed`, streams for `hold`. */
  amount: number;
  seconds: number;
}

export interface LoadResult {
  requests: number;
  /** Answers that were no success, or broke. */
  failed: number;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** 99th percentile of how late the clock of `rate` and `streams` was: above some milliseconds the machine is too busy. */
  lateMs: number;
}

const CONNECTIONS = 512;

const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions;
const address = new URL(options.url);
const connections = options.mode === 'rate' || options.mode === 'streams' ? CONNECTIONS : options.amount;
const pool = new Pool(address.origin, { connections, bodyTimeout: 0, headersTimeout: 60_000 });
const timesMs: number[] = [];
const lateMs: number[] = [];
let failed = 0;

/** One request; when it has ended, or as soon as it has begun to answer, how long that took. */
function send(until: 'end' | 'first byte', onFirstByte?: () => void): Promise<void> {
  const start = performance.now();
  return new Promise((resolve) => {
    let status = 0;
    let begun = false;
    const ended = (isRight: boolean): void => {
      if (isRight) timesMs.push(performance.now() - start);
      else failed++;
      resolve();
    };
    pool.dispatch(
      { path: address.pathname, method: 'POST', headers: options.headers, body: options.body },
      {
        onRequestStart() {},
        onResponseStart(_, code) {
          status = code;
        },
        onResponseData() {
          if (begun) return;
          begun = true;
          onFirstByte?.();
          if (until === 'first byte') ended(status === 200);
        },
        onResponseEnd() {
          if (until === 'end' || !begun) ended(status === 200);
        },
        onResponseError() {
          if (until === 'end' || !begun) ended(false);
        },
      },
    );
  });
}

async function closed(): Promise<void> {
  const end = performance.now() + options.seconds * 1_000;
  await Promise.all(
    Array.from({ length: options.amount }, async () => {
      while (performance.now() < end) await send('end');
    }),
  );
}

async function onAClock(until: 'end' | 'first byte'): Promise<void> {
  const count = options.amount * options.seconds;
  const start = performance.now();
  const sent: Promise<void>[] = [];
  while (sent.length < count) {
    const dueMs = start + (sent.length * 1_000) / options.amount;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    lateMs.push(Math.max(0, performance.now() - dueMs));
    sent.push(send(until));
  }
  await Promise.all(sent);
}

async function hold(): Promise<void> {
  let open = 0;
  await new Promise<void>((resolve) => {
    for (let i = 0; i < options.amount; i++) {
      void send('first byte', () => open++).then(() => {
        if (open + failed >= options.amount) resolve();
      });
    }
  });
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

const start = performance.now();
if (options.mode === 'closed') await closed();
else if (options.mode === 'hold') await hold();
else await onAClock(options.mode === 'rate' ? 'end' : 'first byte');
const result: LoadResult = {
  requests: timesMs.length,
  failed,
  perSecond: timesMs.length / ((performance.now() - start) / 1_000),
  p50Ms: percentile(timesMs, 0.5),
  p99Ms: percentile(timesMs, 0.99),
  lateMs: percentile(lateMs, 0.99),
};
console.log(JSON.stringify(result));
if (options.mode !== 'hold') process.exit(0);
