import { describe, expect, test } from 'vitest';
import { SILENT } from '#core/log.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { sampleOpening } from '#test/support/usage.ts';
import type { CustomerCountersStub } from '../limits/durable-object.ts';
import { type ConsumerOptions, consumeEvents, type QueueBatchMessage, queueSink, type UnsettledCall } from './queue.ts';

/** The customer's object, which fails as often as the test says, and remembers the rest. */
function objects(failures = 0) {
  const calls: unknown[][] = [];
  let left = failures;
  const does =
    <Answer>(verb: string, answer: Answer) =>
    async (...values: unknown[]): Promise<Answer> => {
      if (left-- > 0) throw new Error('the object does not answer');
      calls.push([verb, ...values]);
      return answer;
    };
  const stub: CustomerCountersStub = {
    reserve: does('reserve', { admitted: true, states: [], crossed: [], unknown: [] }),
    extend: does('extend', { admitted: true, states: [], crossed: [], unknown: [] }),
    open: does('open', undefined),
    settle: does('settle', { settled: true, crossed: [], over: [] }),
    release: does('release', undefined),
    seed: does('seed', undefined),
    read: does('read', { used: 0n, held: 0n }),
    listLive: does('listLive', []),
    listDebts: does('listDebts', []),
  };
  const asked: string[] = [];
  return {
    calls,
    asked,
    customers: {
      getByName: (customer: string) => {
        asked.push(customer);
        return stub;
      },
    },
  };
}

function sinkOf({ customers }: ReturnType<typeof objects>) {
  const queued: UnsettledCall[] = [];
  const queue = { send: async (message: UnsettledCall) => queued.push(message) };
  return { sink: queueSink({ customers, queue, log: SILENT }), queued };
}

const opening = sampleOpening('req_1');
const { reservation, estimate, estimatedUse } = opening;
const used = estimatedUse.map((amount) => amount + 1n);
const event: UsageEvent = { ...estimate, data: { ...estimate.data, outcome: 'ok', usage_status: 'final' } };

describe('the sink', () => {
  test("keeps opening and closing in the customer's object", async () => {
    const object = objects();
    const { sink, queued } = sinkOf(object);
    await sink.open(opening);
    await sink.close({ reservation, used, event });
    await sink.abandon(opening);
    await sink.drain();
    expect(object.calls).toEqual([
      ['open', reservation, estimatedUse, JSON.stringify(estimate)],
      ['settle', reservation, used, JSON.stringify(event)],
      ['release', reservation],
    ]);
    expect(new Set(object.asked)).toEqual(new Set([reservation.customer]));
    expect(queued).toEqual([]);
  });

  test('opens nothing that it could not record', async () => {
    const { sink } = sinkOf(objects(1));
    await expect(sink.open(opening)).rejects.toMatchObject({ code: 'journal_unavailable' });
  });

  test('tries a settlement again, and then leaves it to the queue', async () => {
    const shaky = objects(2);
    await sinkOf(shaky).sink.close({ reservation, used, event });
    expect(shaky.calls).toHaveLength(1);
    const broken = objects(3);
    const { sink, queued } = sinkOf(broken);
    await sink.close({ reservation, used, event });
    expect(broken.calls).toEqual([]);
    expect(queued).toHaveLength(1);
  });

  test('sends an event without the usage object of the provider when it is larger than a queue takes', async () => {
    const object = objects();
    const raw = { ...event, data: { ...event.data, raw_usage: { text: 'x'.repeat(200_000) } } };
    await sinkOf(object).sink.close({ reservation, used, event: raw });
    expect(object.calls[0]?.[3]).toBe(JSON.stringify({ ...event, data: { ...event.data, raw_usage: null } }));
  });
});

class Message implements QueueBatchMessage {
  readonly body: QueueBatchMessage['body'];
  readonly attempts: number;
  readonly said: unknown[] = [];

  constructor(body: QueueBatchMessage['body'], attempts = 1) {
    this.body = body;
    this.attempts = attempts;
  }
  ack(): void {
    this.said.push('ack');
  }
  retry(options: { delaySeconds: number }): void {
    this.said.push(options.delaySeconds);
  }
}

describe('the consumer', () => {
  function consumer(statuses: number[], object = objects()) {
    const posted: { url: string; headers: Headers; body: string }[] = [];
    const options: ConsumerOptions = {
      customers: object.customers,
      billing: { url: 'https://billing.test', token: 'wr_api_x' },
      log: SILENT,
      fetch: async (input, init) => {
        posted.push({ url: String(input), headers: new Headers(init?.headers), body: String(init?.body) });
        const status = statuses.shift();
        if (status === undefined) throw new TypeError('fetch failed');
        return new Response('said', { status });
      },
    };
    return { posted, consume: (messages: Message[]) => consumeEvents({ messages }, options) };
  }

  test('posts the events of a batch as one, and acknowledges them when billing has taken them', async () => {
    const { posted, consume } = consumer([200]);
    const messages = [new Message('{"id":"a"}'), new Message('{"id":"b"}', 7)];
    await consume(messages);
    expect(posted).toHaveLength(1);
    expect(posted[0]).toMatchObject({ url: 'https://billing.test/v1/events', body: '[{"id":"a"},{"id":"b"}]' });
    expect(posted[0]?.headers.get('authorization')).toBe('Bearer wr_api_x');
    expect(posted[0]?.headers.get('content-type')).toBe('application/cloudevents-batch+json');
    expect(messages.map(({ said }) => said)).toEqual([['ack'], ['ack']]);
  });

  test('lets them come again, later each time, when billing has not', async () => {
    for (const statuses of [[503], [401], []]) {
      const { consume } = consumer(statuses);
      const messages = [1, 2, 5, 60].map((attempts) => new Message('{}', attempts));
      await consume(messages);
      expect(messages.map(({ said }) => said)).toEqual([[1], [2], [16], [3_600]]);
    }
  });

  test('settles and releases what the object did not take before, whatever becomes of the events', async () => {
    const { sink, queued } = sinkOf(objects(Number.POSITIVE_INFINITY));
    await sink.close({ reservation, used, event });
    await sink.abandon(opening);
    const object = objects();
    const { posted, consume } = consumer([503], object);
    // As a queue carries them.
    const messages = [...queued, '{"id":"a"}'].map((body) => new Message(JSON.parse(JSON.stringify(body))));
    await consume(messages);
    expect(messages.map(({ said }) => said)).toEqual([['ack'], ['ack'], [1]]);
    expect(object.calls).toEqual([
      ['settle', reservation, used, JSON.stringify(event)],
      ['release', reservation],
    ]);
    expect(posted).toHaveLength(1);
  });

  test('lets a settlement come again when the object still does not answer', async () => {
    const { sink, queued } = sinkOf(objects(Number.POSITIVE_INFINITY));
    await sink.close({ reservation, used, event });
    const { posted, consume } = consumer([], objects(1));
    const message = new Message(queued[0] as UnsettledCall, 3);
    await consume([message]);
    expect(message.said).toEqual([4]);
    expect(posted).toEqual([]);
  });
});
