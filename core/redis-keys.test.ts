import { describe, expect, it } from 'vitest';
import { customerPrefix, eventStream, SHARDS, shardOf } from './redis-keys.ts';

describe('the keys that gateway and billing share', () => {
  it('never move a customer to another shard: these are in use', () => {
    expect(['acme', 'globex', 'demo', 'cus_01JD', 'Zürich AG', ''].map(shardOf)).toEqual([15, 14, 6, 2, 15, 5]);
    expect(SHARDS).toBe(16);
  });

  it("keep a customer's limits and events in one slot, and namespaces apart", () => {
    const tag = (key: string) => /\{(.*?)\}/.exec(key)?.[1];
    expect(tag(customerPrefix('weir', 'acme'))).toBe(tag(eventStream('weir', shardOf('acme'))));
    expect(customerPrefix('a', 'acme')).not.toBe(customerPrefix('b', 'acme'));
  });

  it('spread customers over all shards', () => {
    const counts = new Array<number>(SHARDS).fill(0);
    for (let i = 0; i < 16_000; i++) {
      const shard = shardOf(`customer-${i}`);
      counts[shard] = (counts[shard] ?? 0) + 1;
    }
    expect(Math.min(...counts)).toBeGreaterThan(800);
    expect(Math.max(...counts)).toBeLessThan(1200);
  });
});
