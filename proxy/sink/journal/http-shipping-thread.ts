/**
 * The thread that posts the events of a journal to billing: it reads them from the files themselves, so that the thread
 * that serves calls neither reads, nor copies, nor sends them. Asked by `http-shipping.ts`, one range at a time.
 *
 * A 2xx answer means that billing has committed the batch; rows that it refused are parked and shown there, and are not
 * our business any more. Everything else is a failure of the batch.
 */

import * as http from 'node:http';
import * as https from 'node:https';
import { parentPort, workerData } from 'node:worker_threads';
import { reasonOf } from '#core/fault.ts';
import { GATEWAY_SOURCE, type UsageEvent } from '#core/usage-event.ts';
import { encodeCounts, parseReservation } from '#proxy/limits/reservation-text.ts';
import type { Brought, FromThread, ShippingThreadData, ToThread } from './http-shipping.ts';
import { type ClosedEvent, type ClosingsRange, readEvents } from './read.ts';

const TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** Shorter than what servers and what lies between allow: a connection that they drop without a word would cost a timeout. */
const IDLE_MS = 4_000;
const STORY_CHARS = 300;

const OPEN = Buffer.from('[');
const BETWEEN = Buffer.from(',');
const CLOSE = Buffer.from(']');

const { url, token, onlyMissing } = workerData as ShippingThreadData;
/** Node's own client: what a thread loads it has for itself, and undici is another 10 MB. */
const { Agent, request } = new URL(url).protocol === 'https:' ? https : http;
const agent = new Agent({ keepAlive: true, maxSockets: 1, timeout: IDLE_MS });
const address = `${url.replace(/\/+$/, '')}/v1/events`;
const authorization = `Bearer ${token}`;

/** That what is on its way has arrived. */
let go = Promise.withResolvers<void>();

function tell(message: FromThread): void {
  parentPort?.postMessage(message);
}

async function ship(range: ClosingsRange, tellsAll: boolean): Promise<void> {
  const { events, oldestAtMs, next } = await readEvents(range);
  tell({ kind: 'started', oldestAtMs });
  const sent = onlyMissing ? await missingOf(events) : events;
  if (sent.length > 0) await post(sent);
  const ids = new Set(sent.map(({ id }) => id));
  const told = tellsAll ? events : sent;
  tell({ kind: 'shipped', next, brought: onlyMissing ? told.map((one) => broughtOf(one, ids.has(one.id))) : [] });
}

/** Those that billing does not have, and does not get the other way. */
async function missingOf(events: readonly ClosedEvent[]): Promise<readonly ClosedEvent[]> {
  const first = await stillMissing(events);
  if (first.length === 0) return first;
  tell({ kind: 'missing' });
  await go.promise;
  return stillMissing(first);
}

async function stillMissing(events: readonly ClosedEvent[]): Promise<readonly ClosedEvent[]> {
  if (events.length === 0) return events;
  const ids = events.map(({ eventId }) => eventId);
  const body = JSON.stringify({ source: GATEWAY_SOURCE, ids });
  const { missing } = JSON.parse(await asked(`${address}/missing`, 'application/json', body)) as { missing: string[] };
  if (missing.length === 0) return [];
  const wanted = new Set(missing);
  return events.filter(({ eventId }) => wanted.has(eventId));
}

/** What was to be settled has been by then, and may be lost like the others. */
function broughtOf({ id, atMs, event, kind, reservation }: ClosedEvent, isSent: boolean): Brought {
  const { subject } = JSON.parse(event.toString('utf8')) as UsageEvent;
  const counts = kind === 'K' || reservation === '' ? reservation : encodeCounts(parseReservation(reservation));
  return { id, customer: subject, atMs, counts, isSent };
}

/** The events are JSON already. */
async function post(events: readonly ClosedEvent[]): Promise<void> {
  const parts = events.flatMap(({ event }, i) => [i === 0 ? OPEN : BETWEEN, event]);
  await asked(address, 'application/cloudevents-batch+json', Buffer.concat([...parts, CLOSE]));
}

async function asked(to: string, type: string, body: string | Buffer): Promise<string> {
  const { statusCode, text } = await posted(to, type, body);
  if (statusCode >= 200 && statusCode < 300) return text;
  throw new Error(`billing answered ${statusCode}: ${text.slice(0, STORY_CHARS)}`);
}

/** Sent once more where billing had let go of the connection just then: what it has of it, it knows again. */
function posted(
  to: string,
  type: string,
  body: string | Buffer,
  isAgain = false,
): Promise<{ statusCode: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ statusCode: number; text: string }>();
  const headers = { authorization, 'content-type': type, 'content-length': Buffer.byteLength(body) };
  let isAnswered = false;
  const sent = request(to, { method: 'POST', agent, headers, timeout: TIMEOUT_MS }, (answer) => {
    isAnswered = true;
    let text = '';
    answer.setEncoding('utf8');
    answer.on('data', (chunk: string) => {
      text += chunk;
    });
    answer.on('end', () => resolve({ statusCode: answer.statusCode ?? 0, text }));
    answer.on('error', reject);
  });
  sent.on('timeout', () => sent.destroy(new Error(`billing said nothing for ${TIMEOUT_MS} ms`)));
  sent.on('error', (error: Error) => {
    if (sent.reusedSocket && !isAgain && isReset(error)) resolve(posted(to, type, body, true));
    else reject(error);
  });
  // After a change of protocol that nobody asked for there is neither an answer nor an error.
  sent.on('close', () => {
    if (!isAnswered) reject(new Error('billing gave no answer'));
  });
  sent.once('socket', (socket) => {
    if (!socket.connecting) return;
    const late = new Error(`billing was not reached within ${CONNECT_TIMEOUT_MS} ms`);
    const timer = setTimeout(() => sent.destroy(late), CONNECT_TIMEOUT_MS);
    socket.once('connect', () => clearTimeout(timer));
    sent.once('close', () => clearTimeout(timer));
  });
  sent.end(body);
  return promise;
}

function isReset(error: Error): boolean {
  return 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
}

parentPort?.on('message', (message: ToThread) => {
  if (message.kind === 'go') {
    go.resolve();
    return;
  }
  go = Promise.withResolvers();
  ship(message.range, message.tellsAll).catch((error: unknown) => tell({ kind: 'failed', reason: reasonOf(error) }));
});
