import { describe, expect, it } from 'vitest';
import { Fault } from '#core/fault.ts';
import { createLog } from './log.ts';

function logged(level: string, say: (log: ReturnType<typeof createLog>) => void): string[] {
  const lines: string[] = [];
  say(createLog(level, 'gateway', { write: (line) => lines.push(line) }));
  return lines;
}

describe('the log', () => {
  it('writes one JSON object per line, with time, role, level, fields and text', () => {
    const [line = ''] = logged('info', (log) => log.info({ customer: 'acme', tokens: 12n }, 'A thing happened.'));
    expect(JSON.parse(line)).toMatchObject({
      role: 'gateway',
      customer: 'acme',
      tokens: '12',
      msg: 'A thing happened.',
    });
    expect(line.endsWith('}\n')).toBe(true);
  });

  it('says nothing below its level', () => {
    expect(logged('warn', (log) => log.info({}, 'no'))).toEqual([]);
  });

  it('hides secrets and what people wrote by the name of the field, at any depth', () => {
    const fields = {
      authorization: 'Bearer abc',
      upstream: { name: 'openai', credential: 'the credential', headers: { 'x-api-key': 'k' } },
      requests: [{ 'x-api-key': 'the key', apiKey: 'k', token: 't', adminToken: 't', password: 'p', setCookie: 'c' }],
      prompt: 'a prompt',
      messages: [{ role: 'user', content: 'a prompt' }],
      event: { input: 'a prompt', choices: ['an answer'], input_tokens: 12, key: 'key_prod' },
    };
    const [line = ''] = logged('info', (log) => log.info(fields, 'text'));
    expect(line).not.toMatch(/abc|the credential|the key|a prompt|an answer|"t"|"p"|"c"|"k"/);
    expect(JSON.parse(line)).toMatchObject({
      upstream: { name: 'openai' },
      event: { input_tokens: 12, key: 'key_prod' },
    });
  });

  it('hides secrets in texts by their looks: keys of Weir and of providers, bearers, addresses, queries', () => {
    const secrets = [
      'wr_live_0123456789abcdefghij',
      'wr_api_some-admin-token',
      'sk-proj-abcdefgh12345678',
      'sk-ant-api03-abcdefgh',
      `AIza${'a'.repeat(35)}`,
      'AKIAABCDEFGHIJKLMNOP',
    ];
    const texts = [
      ...secrets.map((secret) => `the key ${secret} is wrong`),
      'authorization: Bearer eyJhbGciOi.abc',
      'cannot connect to redis://default:hunter2@10.0.0.1:6379',
      'GET /v1beta/models?key=hunter2&alt=sse',
    ];
    const lines = logged('info', (log) => {
      for (const text of texts) {
        log.info({ detail: text }, text);
        log.info({ err: new Error(text, { cause: new Error(text) }) }, 'failed');
      }
    });
    expect(lines).toHaveLength(texts.length * 2);
    const all = lines.join('');
    for (const secret of [...secrets, 'eyJhbGciOi', 'hunter2']) expect(all).not.toContain(secret);
    expect(all).toContain('redis://…@10.0.0.1:6379');
    expect(all).toContain('alt=sse');
  });

  it('takes of an error what went wrong, and nothing that a library hung onto it', () => {
    const reply = Object.assign(new Error('ERR wrong'), {
      name: 'ReplyError',
      command: { name: 'evalsha', args: ['a prompt'] },
    });
    const fault = new Fault('limits_unavailable', { story: 'Redis said no', cause: reply });
    const [line = ''] = logged('info', (log) => log.error({ err: fault }, 'failed'));
    expect(line).not.toContain('a prompt');
    expect(JSON.parse(line).err).toMatchObject({
      type: 'Fault',
      code: 'limits_unavailable',
      story: 'Redis said no',
      cause: { type: 'ReplyError', message: 'ERR wrong' },
    });
  });

  it('survives fields that are huge, deep, binary or in a circle', () => {
    const circle: Record<string, unknown> = { name: 'circle', bytes: Buffer.from('a prompt') };
    circle.self = circle;
    const [line = ''] = logged('info', (log) => log.info({ circle, long: 'x'.repeat(100_000) }, 'text'));
    expect(line.length).toBeLessThan(10_000);
    expect(line).toContain('[deep]');
  });
});
