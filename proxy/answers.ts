import { Fault } from '#core/fault.ts';
import type { Flight } from './flight.ts';
import type { MaybePromise } from './limits/counters.ts';
import type { Probe } from './routes.ts';
import { encodeUtf8 } from './wire/bytes.ts';
import type { ErrorAnswer } from './wire/dialect.ts';

/** Answers of our own: small, whole, and with our request id. */
export function reply(flight: Flight, { status, headers, body }: ErrorAnswer): void {
  flight.status = status;
  const connection = flight.late ? ['connection', 'close'] : [];
  flight.reply.head(status, [...headers, ...connection, 'content-length', String(body.length)]);
  flight.reply.end(body);
}

export function replyJson(flight: Flight, status: number, value: object): void {
  const headers = ['content-type', 'application/json', 'x-request-id', flight.id];
  reply(flight, { status, headers, body: encodeUtf8(`${JSON.stringify(value)}\n`) });
}

function replyMetrics(flight: Flight, text: string): void {
  const headers = ['content-type', 'text/plain; version=0.0.4; charset=utf-8', 'x-request-id', flight.id];
  reply(flight, { status: 200, headers, body: encodeUtf8(text) });
}

export interface ProbeParts {
  ready: () => MaybePromise<boolean>;
  metrics?: () => string;
}

export async function answerProbe(flight: Flight, probe: Probe, draining: boolean, parts: ProbeParts): Promise<void> {
  const { ready, metrics } = parts;
  if (probe === 'health') replyJson(flight, 200, { status: 'ok' });
  else if (probe === 'metrics' && metrics) replyMetrics(flight, metrics());
  else if (probe === 'metrics') throw new Fault('route_not_found');
  else if (draining) replyJson(flight, 503, { status: 'draining' });
  else if (await ready()) replyJson(flight, 200, { status: 'ready' });
  else replyJson(flight, 503, { status: 'not ready' });
}
