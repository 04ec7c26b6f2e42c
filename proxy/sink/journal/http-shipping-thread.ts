/**
 * The thread that posts the events of a journal to billing: it reads them from the files themselves, so that the thread
 * that serves calls neither reads, nor copies, nor sends them. Asked by `http-shipping.ts`, one range at a time.
 *
 * A 2xx answer means that billing has committed the batch; rows that it refused are parked and shown there, and are not
 * our business any more. Everything else is a failure of the batch.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Agent, request } from 'undici';
import { reasonOf } from '#core/fault.ts';
import type { FromThread, ShippingTarget } from './http-shipping.ts';
import { type ClosingsRange, readEvents } from './read.ts';

const TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;
const STORY_CHARS = 300;

const OPEN = Buffer.from('[');
const BETWEEN = Buffer.from(',');
const CLOSE = Buffer.from(']');

const { url, token } = workerData as ShippingTarget;
const agent = new Agent({ connections: 1, connect: { timeout: CONNECT_TIMEOUT_MS } });
const address = `${url.replace(/\/+$/, '')}/v1/events`;
const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/cloudevents-batch+json' };

function tell(message: FromThread): void {
  parentPort?.postMessage(message);
}

async function ship(range: ClosingsRange): Promise<void> {
  const { events, oldestAtMs, next } = await readEvents(range);
  tell({ kind: 'started', oldestAtMs });
  if (events.length > 0) await post(events);
  tell({ kind: 'shipped', next });
}

/** The events are JSON already. */
async function post(events: readonly Buffer[]): Promise<void> {
  const parts = events.flatMap((event, i) => [i === 0 ? OPEN : BETWEEN, event]);
  const answer = await request(address, {
    method: 'POST',
    headers,
    body: Buffer.concat([...parts, CLOSE]),
    dispatcher: agent,
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
  });
  if (answer.statusCode >= 200 && answer.statusCode < 300) {
    await answer.body.dump();
    return;
  }
  const text = await answer.body.text();
  throw new Error(`billing answered ${answer.statusCode}: ${text.slice(0, STORY_CHARS)}`);
}

parentPort?.on('message', (range: ClosingsRange) => {
  ship(range).catch((error: unknown) => tell({ kind: 'failed', reason: reasonOf(error) }));
});
