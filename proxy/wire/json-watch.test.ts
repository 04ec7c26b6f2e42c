import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeUtf8 } from './bytes.ts';
import { keyOf, membersOf, valueText } from './json-span.ts';
import { JsonWatch, watchList } from './json-watch.ts';

const WATCHED = watchList(['usage', 'model'], 'choices');

function watch(chunks: readonly Uint8Array[]): JsonWatch {
  const found = new JsonWatch(WATCHED);
  for (const chunk of chunks) found.push(chunk);
  return found;
}

function everyCut(text: string, check: (found: JsonWatch) => void): void {
  const bytes = encodeUtf8(text);
  check(watch([bytes]));
  for (let at = 1; at < bytes.length; at++) check(watch([bytes.subarray(0, at), bytes.subarray(at)]));
  check(watch(Array.from(bytes, (byte) => Uint8Array.of(byte))));
}

describe('watching a JSON answer go by', () => {
  it('finds top-level members at every cut of the bytes, and not those below or inside text', () => {
    const text = `{ "choices" : [ {"usage":1,"text":"\\"usage\\":{} \\\\"} ],\n "us\\u0061ge2":0, "model":"é{[",
      "data":{"usage":{"prompt_tokens":99}}, "usage" : {"prompt_tokens": 3, "x":[{"a":"}"}]} }\n`;
    everyCut(text, (found) => {
      expect(found.find('model')).toBe('é{[');
      expect(found.find('usage')).toEqual({ prompt_tokens: 3, x: [{ a: '}' }] });
      expect(found.complete).toBe(true);
    });
  });

  it('measures the text of one member', () => {
    everyCut('{"a":"xxxx","choices":[{"m":"1234"},"56"],"b":"yyyy"}', (found) => {
      // Names count too: 1 + 4 + 2.
      expect(found.textBytes).toBe(7);
    });
  });

  it('is not complete before the object has closed', () => {
    expect(watch([encodeUtf8('{"usage":{"prompt_tokens":1}')]).complete).toBe(false);
    expect(watch([encodeUtf8('<html>')]).complete).toBe(false);
    expect(watch([encodeUtf8('{"usage":1}')]).find('model')).toBeUndefined();
  });

  it('never throws, whatever goes by', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 10 }), (chunks) => {
        const found = watch(chunks);
        found.find('usage');
      }),
    );
  });

  it('agrees with the parser on any object', () => {
    const object = fc.dictionary(fc.constantFrom('usage', 'model', 'choices', 'x'), fc.jsonValue(), { maxKeys: 4 });
    fc.assert(
      fc.property(object, fc.nat(), fc.integer({ min: 0, max: 2 }), (value, cut, blanks) => {
        const bytes = encodeUtf8(JSON.stringify(value, null, blanks));
        const at = cut % (bytes.length + 1);
        const found = watch([bytes.subarray(0, at), bytes.subarray(at)]);
        const same = JSON.parse(JSON.stringify(value));
        expect(found.find('usage')).toEqual(same.usage);
        expect(found.find('model')).toEqual(same.model);
        expect(found.complete).toBe(true);
      }),
    );
  });
});

describe('a long string with many escapes', () => {
  const text = fc.string({ unit: fc.constantFrom('\\', '"', 'a', 'é'), minLength: 0, maxLength: 120 });

  it('ends where the parser says, wherever it is cut', () => {
    fc.assert(
      fc.property(text, fc.nat(), (value, cut) => {
        const bytes = encodeUtf8(JSON.stringify({ model: value, choices: [value], usage: 1 }));
        const at = cut % (bytes.length + 1);
        const found = watch([bytes.subarray(0, at), bytes.subarray(at)]);
        expect([found.find('model'), found.find('usage'), found.complete]).toEqual([value, 1, true]);
        expect(found.textBytes).toBe(encodeUtf8(JSON.stringify(value)).length - 2);
      }),
    );
  });

  it('is skipped as a whole when members are looked for', () => {
    fc.assert(
      fc.property(text, text, (key, value) => {
        fc.pre(key !== '__proto__');
        const bytes = encodeUtf8(`x${JSON.stringify({ [key]: value, end: 1 })}"}"`);
        const members = membersOf(bytes, 1, bytes.length) ?? [];
        expect(members.map((member) => keyOf(bytes, member))).toEqual(key === 'end' ? ['end'] : [key, 'end']);
        expect(
          JSON.parse(valueText(bytes, members[0] ?? { keyStart: 0, keyEnd: 0, valueStart: 0, valueEnd: 0 })),
        ).toEqual(key === 'end' ? 1 : value);
      }),
    );
  });
});
