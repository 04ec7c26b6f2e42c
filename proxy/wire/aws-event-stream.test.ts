import { EventStreamCodec, type Message } from '@smithy/eventstream-codec';
import { describe, expect, it } from 'vitest';
import { type AwsMessage, AwsMessages, encodeAwsMessage } from './aws-event-stream.ts';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';

/** AWS's own, which checks the CRCs of what it reads. */
const theirs = new EventStreamCodec(decodeUtf8, encodeUtf8);

const MESSAGES: Message[] = ['', '{"text":"Wasser fließt"}', 'x'.repeat(70_000)].map((payload, i) => ({
  headers: {
    ':message-type': { type: 'string', value: 'event' },
    ':event-type': { type: 'string', value: `kind-${i}` },
    flag: { type: 'boolean', value: i % 2 === 0 },
    small: { type: 'byte', value: 3 },
    short: { type: 'short', value: 300 },
    whole: { type: 'integer', value: 70_000 },
    bytes: { type: 'binary', value: Uint8Array.of(1, 2, 3) },
    at: { type: 'timestamp', value: new Date(1_700_000_000_000) },
    id: { type: 'uuid', value: '01234567-89ab-cdef-0123-456789abcdef' },
  },
  body: encodeUtf8(payload),
}));

function readIn(pieces: readonly Uint8Array[]): { seen: AwsMessage[]; between: boolean } {
  const seen: AwsMessage[] = [];
  const messages = new AwsMessages(({ headers, payload }) => seen.push({ headers, payload: new Uint8Array(payload) }));
  for (const piece of pieces) messages.push(piece);
  return { seen, between: messages.between };
}

describe('messages in the framing of AWS', () => {
  const stream = Buffer.concat(MESSAGES.map((message) => theirs.encode(message)));
  const whole = readIn([stream]).seen;

  it('are read as AWS writes them, with headers of every type', () => {
    expect(whole.map(({ headers }) => headers)).toEqual(
      MESSAGES.map((_, i) => ({
        ':message-type': 'event',
        ':event-type': `kind-${i}`,
      })),
    );
    expect(whole.map(({ payload }) => Buffer.from(payload).equals(MESSAGES[0]?.body ?? payload))).toEqual([
      true,
      false,
      false,
    ]);
    expect(whole[1] && decodeUtf8(whole[1].payload)).toBe('{"text":"Wasser fließt"}');
  });

  it('are the same at every cut, byte by byte too, and stand between two only at their ends', () => {
    const short = Buffer.concat(MESSAGES.slice(0, 2).map((message) => theirs.encode(message)));
    const ends = new Set([0, theirs.encode(MESSAGES[0] as Message).length, short.length]);
    for (let cut = 0; cut <= short.length; cut++) {
      expect(readIn([short.subarray(0, cut), short.subarray(cut)]).seen).toHaveLength(2);
      expect(readIn([short.subarray(0, cut)]).between).toBe(ends.has(cut));
    }
    expect(readIn(Array.from(short, (byte) => Uint8Array.of(byte))).seen).toEqual(whole.slice(0, 2));
  });

  it('are no more once one is broken, whichever byte it was', () => {
    const [first = new Uint8Array(), second = new Uint8Array()] = MESSAGES.map((message) => theirs.encode(message));
    for (let at = 0; at < second.length; at++) {
      const bad = second.slice();
      bad[at] = (bad[at] as number) ^ 0x40;
      const { seen, between } = readIn([first, bad, first]);
      expect([seen.length, between]).toEqual([1, false]);
    }
  });

  it('are written so that AWS reads them', () => {
    const headers = { ':message-type': 'exception', ':exception-type': 'throttlingException' };
    const { headers: read, body } = theirs.decode(
      encodeAwsMessage({ headers, payload: encodeUtf8('{"message":"Ü"}') }),
    );
    expect(Object.fromEntries(Object.entries(read).map(([name, { value }]) => [name, value]))).toEqual(headers);
    expect(decodeUtf8(body)).toBe('{"message":"Ü"}');
  });
});
