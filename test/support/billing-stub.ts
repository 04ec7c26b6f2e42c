import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { UsageEvent } from '#core/usage-event.ts';

/** Takes event batches as billing does: keeps each event once by (source, id), and says when a repeat was another. */
export interface BillingStub {
  readonly url: string;
  readonly events: ReadonlyMap<string, UsageEvent>;
  /** Ids that came again with another body. Has to stay empty. */
  readonly conflicts: readonly string[];
  /** How many events each request brought, in order. */
  readonly batches: readonly number[];
  readonly headers: readonly (string | undefined)[][];
  /** The status of the next answers, instead of 200; with `afterCommit` the events are kept all the same. */
  answer: { status: number; afterCommit: boolean };
  /** An event that comes another way. */
  keep(event: UsageEvent): void;
  /** Stops listening, and breaks off what is open. */
  down(): Promise<void>;
  /** Listens again, on the same port. */
  up(): Promise<void>;
}

export async function billingStub(): Promise<BillingStub> {
  const events = new Map<string, UsageEvent>();
  const bodies = new Map<string, string>();
  const conflicts: string[] = [];
  const batches: number[] = [];
  const headers: (string | undefined)[][] = [];

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method !== 'POST') {
        // It takes events and nothing else: a whole gateway asks for key policies and sums too.
        response.writeHead(404).end();
        return;
      }
      const body = Buffer.concat(chunks).toString();
      if (request.url === '/v1/events/missing') {
        const { ids }: { ids: string[] } = JSON.parse(body);
        const missing = ids.filter((id) => !events.has(id));
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ missing }));
        return;
      }
      const batch: UsageEvent[] = JSON.parse(body);
      headers.push([request.method, request.url, request.headers['content-type'], request.headers.authorization]);
      batches.push(batch.length);
      const { status, afterCommit } = stub.answer;
      if (status < 300 || afterCommit) for (const event of batch) keep(event);
      response.writeHead(status, { 'content-type': 'application/json' }).end('{"results":[]}');
    });
  });

  function keep(event: UsageEvent): void {
    const key = `${event.source} ${event.id}`;
    const body = JSON.stringify(event);
    const before = bodies.get(key);
    if (before !== undefined && before !== body) conflicts.push(event.id);
    if (before !== undefined) return;
    bodies.set(key, body);
    events.set(event.id, event);
  }

  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const stub: BillingStub = {
    url: `http://127.0.0.1:${port}`,
    events,
    conflicts,
    batches,
    headers,
    answer: { status: 200, afterCommit: false },
    keep,
    down: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    up: () => listen(port),
  };
  return stub;
}
