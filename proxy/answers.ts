import type { Flight } from './flight.ts';
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

export function replyMetrics(flight: Flight, text: string): void {
  const headers = ['content-type', 'text/plain; version=0.0.4; charset=utf-8', 'x-request-id', flight.id];
  reply(flight, { status: 200, headers, body: encodeUtf8(text) });
}
