import { describe, expect, it } from 'vitest';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { setMember } from './json-set.ts';
import { edited } from './json-span.ts';

function set(text: string, ...path: [readonly string[], ...(readonly string[])[]]): string {
  const bytes = encodeUtf8(text);
  return decodeUtf8(edited(bytes, setMember(bytes, path, '7')));
}

describe('a member that is set', () => {
  it('is replaced where it stands, under whichever of its spellings, and nothing else changes by a byte', () => {
    expect(set('{ "a" : 9 ,"b":1}', ['a'])).toBe('{ "a" : 7 ,"b":1}');
    expect(
      set(
        '{"generation_config": {"x":1, "max_output_tokens": 900}}',
        ['generationConfig', 'generation_config'],
        ['maxOutputTokens', 'max_output_tokens'],
      ),
    ).toBe('{"generation_config": {"x":1, "max_output_tokens": 7}}');
  });

  it('is put in where it is missing, with what is missing around it', () => {
    expect(set('{}', ['a'])).toBe('{"a":7}');
    expect(set('{"b":[1]}', ['a'], ['c'])).toBe('{"b":[1],"a":{"c":7}}');
    expect(set('{"a":{ }}', ['a'], ['c'])).toBe('{"a":{"c":7 }}');
    expect(set('{"a":null}', ['a'], ['c'])).toBe('{"a":{"c":7}}');
    expect(set(' {"a":{"b":"}"}}', ['a'], ['c'])).toBe(' {"a":{"b":"}","c":7}}');
  });
});
