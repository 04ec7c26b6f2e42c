import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const HOLD = new URL('./young-generation.ts', import.meta.url).href;
/** Within the start, in which there is no reason to grow. */
const WORK_MS = 1_500;

/** A process that works in bursts, each of which leaves much alive; how large its young generation was at most, in MB. */
async function mostMegabytes(prepare: string): Promise<number> {
  const program = `
    ${prepare}
    const { getHeapSpaceStatistics } = await import('node:v8');
    const size = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size;
    let most = 0;
    for (const end = performance.now() + ${WORK_MS}; performance.now() < end; most = Math.max(most, size())) {
      globalThis.kept = Array.from({ length: 60_000 }, (_, i) => ({ i, list: [i, i] }));
      await new Promise((resolve) => setImmediate(resolve));
    }
    console.log(most / 2 ** 20);`;
  const args = ['--input-type=module', '--eval', program];
  return Number((await promisify(execFile)(process.execPath, args)).stdout);
}

describe('the young generation', () => {
  it('stays small in a start that works hard, which makes V8 double it again and again by itself', async () => {
    const [held, free] = await Promise.all([
      mostMegabytes(`(await import(${JSON.stringify(HOLD)})).holdYoungGeneration();`),
      mostMegabytes(''),
    ]);
    expect(held).toBeLessThanOrEqual(48);
    expect(free).toBeGreaterThan(held);
  });
});
