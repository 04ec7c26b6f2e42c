import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { pathsOf } from './json-path-tree.ts';
import { JsonPaths } from './json-paths.ts';

const KEPT = ['a', 'b.c', 'b.d[].e', 'f[].a[]', 'h'];
const TEXT = ['t', 'f[].t', 'f[].g'];
const PATHS = pathsOf(KEPT, TEXT);

/** What is told when these texts go by in pieces of these sizes. */
function watch(pieces: readonly Uint8Array[]) {
  const told: [path: string, value: unknown][] = [];
  const paths = new JsonPaths(PATHS, (kept, bytes, start, end) => {
    told.push([KEPT[kept] as string, JSON.parse(decodeUtf8(bytes.subarray(start, end)))]);
  });
  for (const piece of pieces) paths.push(piece);
  return { told, textBytes: paths.textBytes, values: paths.values, between: paths.between };
}

/** The same of a parsed value, by the rules. */
function expected(value: unknown): { told: [string, unknown][]; text: string[] } {
  const told: [string, unknown][] = [];
  const text: string[] = [];
  const steps = (path: string) => path.split('.').flatMap((step) => step.split(/(?=\[\])/));
  const walk = (at: unknown, path: readonly string[]): void => {
    const here = path.join('.').replaceAll('.[]', '[]');
    if (path.length > 0 && KEPT.includes(here)) {
      told.push([here, at]);
      return;
    }
    if (path.length > 0 && TEXT.includes(here)) {
      text.push(...stringsOf(at));
      return;
    }
    if (![...KEPT, ...TEXT].some((other) => path.every((step, i) => steps(other)[i] === step))) return;
    if (Array.isArray(at)) for (const one of at) walk(one, path.length === 0 ? [] : [...path, '[]']);
    else if (typeof at === 'object' && at !== null)
      for (const [key, one] of Object.entries(at)) walk(one, [...path, key]);
  };
  walk(value, []);
  return { told, text };
}

function stringsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, one]) => [...(Array.isArray(value) ? [] : [key]), ...stringsOf(one)]);
}

const names = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 't', 'other', 'a"\\', 'ü');
const { value: anyValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(fc.constantFrom(null, true, false, 0, -1.5e3, 12), fc.string({ unit: 'grapheme', maxLength: 40 })),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(names, tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
}));

function cut(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  const edges = [0, ...[...new Set(at.map((one) => one % (bytes.length + 1)))].sort((a, b) => a - b), bytes.length];
  return edges.slice(1).map((end, i) => bytes.slice(edges[i], end));
}

describe('paths in JSON that goes by', () => {
  it('tells of what stands there, in order, however the bytes are cut', () => {
    fc.assert(
      fc.property(anyValue, fc.constantFrom(undefined, 1, '\t'), fc.array(fc.nat()), (value, indent, cuts) => {
        const bytes = encodeUtf8(JSON.stringify(value, null, indent));
        const wanted = expected(value);
        const got = watch(cut(bytes, cuts));
        expect(got.told).toEqual(wanted.told);
        expect(got.textBytes).toBe(
          wanted.text.reduce((sum, text) => sum + encodeUtf8(JSON.stringify(text)).length - 2, 0),
        );
        const byBytes = watch(
          cut(
            bytes,
            Array.from(bytes, (_, i) => i),
          ),
        );
        expect(byBytes).toEqual(got);
      }),
      { numRuns: 500 },
    );
  });

  it('reads one value after another, and looks through lists around them', () => {
    const text = '{"a":1}\n{"a":2}\r\n[{"a":3},{"a":[4]}]{"b":{"c":"x"}}';
    expect(watch([encodeUtf8(text)])).toMatchObject({
      told: [
        ['a', 1],
        ['a', 2],
        ['a', 3],
        ['a', [4]],
        ['b.c', 'x'],
      ],
      values: 4,
      between: true,
    });
  });

  it('takes no text of a model for a path', () => {
    const text = JSON.stringify({ t: '"a":1}', other: { a: 5, b: { c: 6 } }, f: [{ t: '{"a":7}', g: { a: 8 } }] });
    expect(watch([encodeUtf8(text)]).told).toEqual([]);
  });

  it('passes over a value that is longer than any it could want, in little memory', () => {
    const text = `{"a":"${'x'.repeat(70_000)}","h":1}`;
    expect(watch(cut(encodeUtf8(text), [10, 40_000, 60_000])).told).toEqual([['h', 1]]);
  });

  it('never throws, and comes round after what is no JSON', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        const paths = new JsonPaths(PATHS, () => {});
        paths.push(noise);
        paths.reset();
        const told: string[] = [];
        const after = new JsonPaths(PATHS, (_, bytes, start, end) => told.push(decodeUtf8(bytes.subarray(start, end))));
        after.push(noise);
        after.reset();
        told.length = 0;
        after.push(encodeUtf8('{"a":1}'));
        expect(told).toEqual(['1']);
      }),
    );
  });
});
