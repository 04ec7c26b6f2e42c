import { Fault } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import type { Reservation } from '../limits/counters.ts';
import type { CustomerCountersNamespace, CustomerCountersStub } from '../limits/durable-object.ts';
import { encodeReservation, encodeUsed, parseReservation, parseUsed } from '../limits/reservation-text.ts';
import type { Sink } from './sink.ts';

/**
 * What the queue of events carries: a usage event as JSON text, or a settlement that the customer's object did not take.
 * `event` is empty where a call is released and not settled.
 */
export type QueueMessage = string | UnsettledCall;

export interface UnsettledCall {
  customer: string;
  reservation: string;
  used: string;
  event: string;
}

export interface QueueSinkOptions {
  customers: CustomerCountersNamespace;
  queue: { send(message: UnsettledCall): Promise<unknown> };
  log: Log;
}

/** A queue takes messages of 128 kB. */
const EVENT_CHARS_MAX = 100_000;
const TRIES = 3;

/**
 * The sink on Workers. The customer's Durable Object keeps the opening, settles and writes the event in one transaction,
 * and brings the event to the queue. Should it not answer, the settlement itself goes to the queue, and whoever consumes
 * it settles then.
 */
export function queueSink({ customers, queue, log }: QueueSinkOptions): Sink {
  async function close(call: UnsettledCall): Promise<void> {
    for (let tried = 1; ; tried++) {
      try {
        await settle(customers, call);
        return;
      } catch (error) {
        // A new stub may reach the object where the last one broke; what was done already is not done again.
        if (tried < TRIES) continue;
        log.error(
          { err: error, customer: call.customer },
          'A settlement goes to the queue: its object does not answer.',
        );
        await queue.send(call);
        return;
      }
    }
  }

  return {
    async open({ reservation, estimate, estimatedUse }) {
      try {
        await customers.getByName(reservation.customer).open(reservation, estimatedUse, encodeEvent(estimate));
      } catch (cause) {
        throw new Fault('journal_unavailable', { story: "the customer's Durable Object did not answer", cause });
      }
    },
    close: ({ reservation, used, event }) => close(unsettled(reservation, encodeUsed(used), encodeEvent(event))),
    abandon: ({ reservation }) => close(unsettled(reservation, '', '')),
    // Nothing is kept here that could be lost: what was closed is in the object or in the queue.
    drain: () => Promise.resolve(),
  };
}

function unsettled(reservation: Reservation, used: string, event: string): UnsettledCall {
  return { customer: reservation.customer, reservation: encodeReservation(reservation), used, event };
}

async function settle(customers: CustomerCountersNamespace, call: UnsettledCall): Promise<void> {
  const object: CustomerCountersStub = customers.getByName(call.customer);
  const reservation = parseReservation(call.reservation);
  if (call.event === '') await object.release(reservation);
  else await object.settle(reservation, parseUsed(call.used), call.event);
}

/** An event that no queue takes is worth more without the provider's own usage object than not at all. */
function encodeEvent(event: UsageEvent): string {
  const text = JSON.stringify(event);
  return text.length <= EVENT_CHARS_MAX ? text : JSON.stringify({ ...event, data: { ...event.data, raw_usage: null } });
}

/** What we use of a batch that Cloudflare brings. */
export interface QueueBatch {
  readonly messages: readonly QueueBatchMessage[];
}

export interface QueueBatchMessage {
  readonly body: QueueMessage;
  readonly attempts: number;
  ack(): void;
  retry(options: { delaySeconds: number }): void;
}

export interface ConsumerOptions {
  customers: CustomerCountersNamespace;
  /** Billing's base address, and a token of the role `ingest`. */
  billing: { url: string; token: string };
  fetch: typeof fetch;
  log: Log;
}

const POST_TIMEOUT_MS = 30_000;
const RETRY_SECONDS_MAX = 3_600;
const STORY_CHARS = 300;

/**
 * Posts the events of a batch to billing, together, and settles what its object did not take before. A message is
 * acknowledged when that is done; everything else comes again, later each time. Billing counts an event once however
 * often it comes.
 */
export async function consumeEvents(batch: QueueBatch, options: ConsumerOptions): Promise<void> {
  const events = batch.messages.filter(({ body }) => typeof body === 'string');
  await Promise.all([
    finish(events, options.log, () => post(events, options)),
    ...batch.messages.map(async (message) => {
      const { body } = message;
      if (typeof body !== 'string') await finish([message], options.log, () => settle(options.customers, body));
    }),
  ]);
}

async function finish(messages: readonly QueueBatchMessage[], log: Log, work: () => Promise<void>): Promise<void> {
  try {
    if (messages.length > 0) await work();
    for (const message of messages) message.ack();
  } catch (error) {
    log.warn({ err: error, count: messages.length }, 'Messages of the queue have to come again.');
    for (const message of messages) {
      message.retry({ delaySeconds: Math.min(2 ** (message.attempts - 1), RETRY_SECONDS_MAX) });
    }
  }
}

async function post(events: readonly QueueBatchMessage[], { billing, fetch }: ConsumerOptions): Promise<void> {
  const response = await fetch(`${billing.url}/v1/events`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${billing.token}`,
      'content-type': 'application/cloudevents-batch+json',
    },
    // The events are JSON already.
    body: `[${events.map(({ body }) => body).join(',')}]`,
    signal: AbortSignal.timeout(POST_TIMEOUT_MS),
  });
  // 2xx: billing has committed the batch. Rows that it refused are parked and shown there.
  const text = await response.text();
  if (!response.ok) throw new Error(`billing answered ${response.status}: ${text.slice(0, STORY_CHARS)}`);
}
