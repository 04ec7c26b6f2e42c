import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import OpenAI, { RateLimitError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../servers/server.ts';
import { startWeir, type WeirProcess } from '../support/weir-process.ts';
import { until } from './until.ts';

/** The README's first five minutes, as a newcomer goes through them. */
describe('the first five minutes', { timeout: 60_000 }, () => {
  let folder: string;
  let weir: WeirProcess;
  let environment: Record<string, string>;
  let answered = 0;
  const shell = promisify(execFile);

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'weir-first-'));
    environment = {
      WEIR_DATA_DIR: path.join(folder, 'data'),
      WEIR_GATEWAY_PORT: `${await freePort()}`,
      WEIR_BILLING_PORT: `${await freePort()}`,
    };
    weir = await startWeir('serve', environment);
    await until(() => printed('curl') !== undefined, 'the curl line to be printed');
  });

  afterAll(async () => {
    await weir.kill();
    await rm(folder, { recursive: true, force: true });
  });

  /** The rest of the line that begins with this word. */
  function printed(word: string): string | undefined {
    return new RegExp(`^ *${word} +(.*)$`, 'm').exec(weir.output())?.[1];
  }

  async function ask<T>(pathAndQuery: string): Promise<T> {
    const token = (await readFile(path.join(folder, 'data', 'admin-token'), 'utf8')).trim();
    const response = await fetch(`${weir.urls.billing}${pathAndQuery}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    if (!response.ok) throw new Error(`${pathAndQuery}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  interface Usage {
    groups: { model: string; quantities: Record<string, string>; costs: { amount: string }[] }[];
  }
  const usage = (): Promise<Usage> => ask('/v1/usage?customer=acme&group_by=model');

  function client(): OpenAI {
    return new OpenAI({ baseURL: printed('Base URL') ?? '', apiKey: printed('Key') ?? '' });
  }

  it('answers the printed curl line, and the call is on the usage page within a second', async () => {
    const { stdout } = await shell('sh', ['-c', `curl -sS ${printed('curl')}`]);
    expect(JSON.parse(stdout).usage).toMatchObject({ prompt_tokens: 1, completion_tokens: 48 });
    answered++;
    const answeredAt = Date.now();
    await until(async () => (await usage()).groups.length > 0, 'the call to be on the usage page');
    expect(Date.now() - answeredAt).toBeLessThan(1_000);
    expect((await usage()).groups).toMatchObject([
      { model: 'gpt-4o-mini', quantities: { calls: '1', input_tokens: '1', output_tokens: '48' } },
    ]);
  });

  it("streams to the OpenAI SDK, with the provider's cost on the usage page and the plan's price on the preview", async () => {
    const stream = await client().chat.completions.create({
      model: 'gpt-4o-mini',
      messages: [{ role: 'user', content: 'Hello' }],
      stream: true,
    });
    let text = '';
    for await (const chunk of stream) {
      expect(chunk.usage).toBeUndefined();
      text += chunk.choices[0]?.delta.content ?? '';
    }
    answered++;
    expect(text).toContain('sample upstream');
    await until(async () => (await usage()).groups[0]?.quantities.calls === '2', 'the second call');
    const [group] = (await usage()).groups;
    expect(group?.quantities).toEqual({ calls: '2', input_tokens: '2', output_tokens: '96' });
    // 2 x 0.15 + 96 x 0.60 USD per million.
    expect(group?.costs).toMatchObject([{ amount: '0.0000579' }]);
    // The fee of 10, two calls at 0.01, and tokens that come to less than half a cent a line.
    interface Preview {
      total: { amount: string };
      lines: { exact_amount: string; amount: { amount: string } }[];
    }
    const preview = await ask<Preview>('/v1/customers/acme/usage/current');
    expect(preview.total.amount).toBe('10.02');
    expect(preview.lines.map((line) => line.amount.amount)).toEqual(['10.00', '0.02', '0.00', '0.00']);
  });

  it('takes over a limit that is written into the file, and refuses in words that say which', async () => {
    const file = path.join(folder, 'data', 'weir.yaml');
    const before = await readFile(file, 'utf8');
    await writeFile(file, before.replace('requests: 600', 'requests: 3'));
    const openai = client();
    let refusal: unknown;
    await until(async () => {
      try {
        await openai.chat.completions.create(
          { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'Hello' }] },
          { maxRetries: 0 },
        );
        answered++;
        return false;
      } catch (error) {
        refusal = error;
        return true;
      }
    }, 'a refusal');
    expect(refusal).toBeInstanceOf(RateLimitError);
    expect((refusal as RateLimitError).code).toBe('rate_limit_exceeded');
    expect((refusal as RateLimitError).message).toMatch(/3 requests per minute/);
    expect(Number.parseInt((refusal as RateLimitError).headers.get('retry-after') ?? '', 10)).toBeGreaterThan(0);
  });

  it('drains on SIGTERM, ends with 0, and knows the key and the usage again after a restart', async () => {
    await until(async () => (await usage()).groups[0]?.quantities.calls === `${answered}`, 'all calls to be there');
    const before = await usage();
    expect(await weir.terminate()).toBe(0);
    weir = await startWeir('serve', environment);
    await until(() => printed('curl') !== undefined, 'the curl line to be printed');
    expect(await usage()).toEqual(before);
  });
});
