import { encoding_for_model } from 'tiktoken';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { tiktokenCounter } from './tiktoken-node.ts';
import { encodingOf } from './token-counter.ts';

describe('tiktokenCounter', () => {
  const counter = tiktokenCounter();
  afterAll(() => counter.close());

  /** Loading a vocabulary may take a busy machine longer than a call waits: then it is not known, and asked again. */
  const loaded = (own: typeof counter, model = 'gpt-4o') =>
    vi.waitFor(async () => expect(await own.count(model, 'Hello')).toBe(1n), { timeout: 30_000 });
  beforeAll(async () => {
    await loaded(counter);
    await loaded(counter, 'gpt-4');
  }, 60_000);

  it('counts what the library itself counts, for many at once', async () => {
    const texts = [
      'Hello, world!',
      'Zażółć gęślą jaźń',
      '🙂🙂🙂 <|endoftext|>',
      'a'.repeat(5_000),
      ' \n\n\t',
      '漢字かな交じり文',
    ];
    const reference = encoding_for_model('gpt-4o');
    const wanted = texts.map((text) => BigInt(reference.encode_ordinary(text).length));
    reference.free();
    expect(await Promise.all(texts.map((text) => counter.count('gpt-4o-mini', text)))).toEqual(wanted);
    expect(await counter.count('gpt-4o', '')).toBe(0n);
  });

  it('never counts more tokens than there are bytes', async () => {
    for (const text of ['\u0000\u0001', '🏳️‍🌈', '!@#$%^&*()', '٣٤٥', '\ufffd'.repeat(9)]) {
      const count = await counter.count('gpt-4', text);
      expect(count).toBeLessThanOrEqual(BigInt(new TextEncoder().encode(text).length));
    }
  });

  it('says that it does not know, rather than count with the vocabulary of others', async () => {
    expect(await counter.count('claude-sonnet-4-5', 'Hello')).toBeUndefined();
    expect(await counter.count('gpt-4o', 'a'.repeat(2_000_001))).toBeUndefined();
  });

  it('gives up a text that it would count for minutes, and goes on with those of others', async () => {
    const own = tiktokenCounter({ stuckMs: 2_500 });
    expect(await own.count('gpt-4o', '漢字'.repeat(100_000))).toBeUndefined();
    await loaded(own);
    await own.close();
  }, 60_000);

  it('takes no more texts than it can have before it', async () => {
    const own = tiktokenCounter();
    const text = 'a '.repeat(1_000_000);
    const waits = Array.from({ length: 8 }, () => own.count('gpt-4o', text));
    expect(await own.count('gpt-4o', 'Hello')).toBeUndefined();
    await own.close();
    await Promise.all(waits);
    await loaded(own);
    await own.close();
  }, 60_000);

  it('answers those who wait when it closes, and starts anew for who comes later', async () => {
    const own = tiktokenCounter();
    const waits = own.count('gpt-4o', 'Hello');
    await own.close();
    expect(await waits).toBeUndefined();
    await loaded(own);
    await own.close();
  }, 60_000);
});

it('knows the vocabulary of a model by its family, however it is written', () => {
  expect(
    ['gpt-4o', 'openai/gpt-4.1-mini', 'o3', 'ft:gpt-4o-mini:acme::x', 'gpt-5.1', 'gpt-oss-120b'].map(encodingOf),
  ).toEqual(Array(6).fill('o200k_base'));
  expect(['gpt-4-turbo', 'gpt-3.5-turbo', 'text-embedding-3-small'].map(encodingOf)).toEqual(
    Array(3).fill('cl100k_base'),
  );
  expect(['llama-3', 'gemini-2.5-pro', 'olmo', 'my-gpt-4'].map(encodingOf)).toEqual(Array(4).fill(undefined));
});
