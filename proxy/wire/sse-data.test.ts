import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { SseData } from './sse-data.ts';

/** The data of each event, and what stands of one that has not ended. */
function read(pieces: readonly Uint8Array[]) {
  const events: string[] = [];
  let data: Uint8Array[] = [];
  const text = () => decodeUtf8(Buffer.concat(data));
  const sse = new SseData({
    data: (bytes, start, end) => data.push(bytes.slice(start, end)),
    endEvent() {
      events.push(text());
      data = [];
    },
  });
  for (const piece of pieces) sse.push(piece);
  return { events, rest: text(), between: sse.between };
}

const whole = (text: string) => read([encodeUtf8(text)]);

describe('the data of an event stream', () => {
  it.each(['\n', '\r\n', '\r'])('is taken out with its line end %j', (end) => {
    const stream = [': hello', '', 'event: x', 'data: {"a":1}', '', 'data:{"b":', 'id: 7', 'data: 2}', '', ''].join(
      end,
    );
    expect(whole(stream)).toEqual({ events: ['', ' {"a":1}', '{"b": 2}'], rest: '', between: end !== '\r' });
  });

  it('may stand behind a byte order mark, and is no field whose name only begins like it', () => {
    expect(whole('\uFEFFdata: 1\n\ndatax: 2\ndat\ndata\n\ndata: 3')).toEqual({
      events: [' 1', ''],
      rest: ' 3',
      between: false,
    });
  });

  it('is the same however the bytes are cut', () => {
    const line = fc.constantFrom(
      'data: {"ü":"€𝄞"}',
      'data:',
      ': ping',
      'event: a',
      '',
      '',
      'da',
      'data',
      'data:x',
      'x',
    );
    const lines = fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r')), { maxLength: 12 });
    fc.assert(
      fc.property(lines, fc.array(fc.nat()), (some, at) => {
        const bytes = encodeUtf8(some.map((pair) => pair.join('')).join(''));
        const edges = [0, ...at.map((one) => one % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
        const pieces = edges.slice(1).map((end, i) => bytes.slice(edges[i], end));
        expect(read(pieces)).toEqual(read([bytes]));
        expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(read([bytes]));
      }),
      { numRuns: 500 },
    );
  });
});
