import { describe, expect, it } from 'vitest';
import { decodeUtf8, encodeUtf8 } from './bytes.ts';
import { openaiCompletions } from './openai-completions.ts';
import { openaiModerations } from './openai-moderations.ts';
import { openaiResponses } from './openai-responses.ts';
import type { Asked, Meter, Reading } from './wire.ts';

const USAGE = {
  input_tokens: 40,
  input_tokens_details: { cached_tokens: 16, cache_write_tokens: 4 },
  output_tokens: 12,
  output_tokens_details: { reasoning_tokens: 8 },
  total_tokens: 52,
};
const SEARCH = { type: 'web_search_call', status: 'completed', action: { type: 'search', query: 'weirs' } };
const LOOK = { type: 'web_search_call', status: 'completed', action: { type: 'open_page', url: 'https://a.example' } };
const FILES = { type: 'file_search_call', queries: ['weir'] };
const CODE = { type: 'code_interpreter_call', container_id: 'cntr_1', code: 'print("type")' };
const ITEMS = [SEARCH, LOOK, FILES, CODE, { ...CODE, code: '2' }];

const response = (more: object) => ({
  id: 'resp_1',
  object: 'response',
  model: 'gpt-6',
  service_tier: 'flex',
  ...more,
});
const event = (type: string, more: object, n: number) =>
  `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: n, ...more })}\n\n`;

function streamOf(items: readonly object[], last: string, usage: object | null): string {
  const begun = response({ status: 'in_progress', usage: null, output: [], error: null });
  const status = last.slice('response.'.length);
  const ended = response({
    status,
    usage,
    output: items,
    error: status === 'failed' ? { code: 'server_error' } : null,
  });
  const events = [
    ['response.created', { response: begun }],
    ...items.flatMap((item, i) => [
      ['response.output_item.added', { output_index: i, item: { ...item, status: 'in_progress' } }],
      ['response.output_item.done', { output_index: i, item }],
    ]),
    ['response.output_text.delta', { delta: 'Water flows.', obfuscation: 'xxxxxxxxxxxxxxxx' }],
    [last, { response: ended }],
  ] as [string, object][];
  return events.map(([type, more], n) => event(type, more, n)).join('');
}

function asked(body: object): Asked {
  return openaiResponses.parse(encodeUtf8(JSON.stringify({ model: 'gpt-6', input: 'Hi', ...body })), {
    path: '/v1/responses',
  });
}

function meterOf(type: string): Meter {
  return openaiResponses.meter(asked({}), { status: 200, headers: { 'content-type': type }, hideUsage: false });
}

function readAt(cut: number, text: string, type = 'text/event-stream; charset=utf-8'): Reading {
  const meter = meterOf(type);
  const bytes = encodeUtf8(text);
  for (const piece of [bytes.subarray(0, cut), bytes.subarray(cut)]) meter.push(piece);
  meter.end();
  return meter.read();
}

const COUNTS = {
  calls: 1n,
  input_tokens: 20n,
  cache_read_tokens: 16n,
  cache_write_tokens: 4n,
  output_tokens: 12n,
  web_searches: 1n,
  file_searches: 1n,
  code_interpreter_sessions: 1n,
};

describe('a response', () => {
  it('is metered by its terminal event at every cut, with the tools that it used counted once', () => {
    const text = streamOf(ITEMS, 'response.completed', USAGE);
    for (let cut = 0; cut <= text.length; cut++) {
      const reading = readAt(cut, text);
      expect(reading).toMatchObject({ complete: true, failed: false, model: 'gpt-6', serviceTier: 'flex' });
      expect(reading.usage).toMatchObject({ counts: COUNTS, raw: USAGE });
      expect(reading.outputTokensGuess).toBe(3n);
    }
  });

  it('is metered whole in the same way, at every cut', () => {
    const text = JSON.stringify(response({ status: 'completed', error: null, output: ITEMS, usage: USAGE }));
    for (let cut = 0; cut <= text.length; cut++) {
      const reading = readAt(cut, text, 'application/json');
      expect(reading).toMatchObject({ complete: true, failed: false, serviceTier: 'flex' });
      expect(reading.usage?.counts).toMatchObject(COUNTS);
    }
  });

  it('is not complete without a terminal event, and has failed where that says so', () => {
    const cut = streamOf(ITEMS, 'response.completed', USAGE).split('event: response.completed')[0] ?? '';
    expect(readAt(0, cut)).toMatchObject({ complete: false, failed: false, usage: null });
    const failed = streamOf([], 'response.failed', null);
    expect(readAt(0, failed)).toMatchObject({ complete: true, failed: true, usage: null });
    const broken = event('error', { code: 'server_error', message: 'no' }, 3);
    expect(readAt(0, broken)).toMatchObject({ complete: false, failed: true });
    expect(readAt(0, streamOf([], 'response.incomplete', USAGE))).toMatchObject({ complete: true, failed: false });
  });

  it('is broken off between two events with an error that has the next number', () => {
    const meter = meterOf('text/event-stream');
    const [first = ''] = streamOf(ITEMS, 'response.completed', USAGE).split(/(?<=\n\n)/);
    meter.push(encodeUtf8(first));
    expect(decodeUtf8(meter.breakOff('It ended.', 'upstream_broken') ?? new Uint8Array())).toBe(
      'event: error\ndata: {"type":"error","code":"upstream_broken","message":"It ended.","param":null,"sequence_number":1}\n\n',
    );
    meter.push(encodeUtf8('event: '));
    expect(meter.breakOff('It ended.', 'upstream_broken')).toBeUndefined();
  });

  it('is bounded by its text, its media and the uses of its tools', () => {
    expect(asked({ max_output_tokens: 100 })).toMatchObject({
      outputTokensMax: 100n,
      inputElsewhere: false,
      bounds: {},
    });
    const tools = [
      { type: 'web_search' },
      { type: 'file_search', vector_store_ids: ['a'] },
      { type: 'code_interpreter' },
    ];
    expect(asked({ tools, max_tool_calls: 3 })).toMatchObject({
      inputElsewhere: true,
      bounds: { web_searches: 3n, file_searches: 3n, code_interpreter_sessions: 1n },
    });
    expect(asked({ tools: [{ type: 'function', name: 'f' }] }).inputElsewhere).toBe(false);
    expect(asked({ previous_response_id: 'resp_0' }).inputElsewhere).toBe(true);
    const picture = { type: 'input_image', image_url: `data:image/png;base64,${'A'.repeat(100_000)}` };
    const seen = asked({ model: 'gpt-4o', input: [{ role: 'user', content: [picture] }] });
    expect(seen.inputTokensMax).toBeLessThan(2_000n);
    expect(asked({ input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'f' }] }] }).inputElsewhere).toBe(
      true,
    );
  });

  it('says what of it stays at the provider, and what it builds on', () => {
    expect(asked({})).toMatchObject({ makes: 'response' });
    expect(asked({ store: false }).makes).toBeUndefined();
    expect(asked({ background: true })).toMatchObject({ makes: 'response', background: true });
    expect(asked({ previous_response_id: 'resp_0' }).buildsOn).toEqual(['resp_0']);
    expect(() => asked({ previous_response_id: 7 })).toThrow("'previous_response_id' must be the id");
  });
});

describe('a completion', () => {
  const parse = (body: object): Asked => openaiCompletions.parse(encodeUtf8(JSON.stringify({ model: 'm', ...body })));

  it('is as many answers as prompts, times the most that are made of each', () => {
    expect(parse({ prompt: 'a' })).toMatchObject({ answers: 1n, inputs: 1n, outputTokensMax: 16n });
    expect(parse({ prompt: ['a', 'b'], n: 2, best_of: 5, max_tokens: 7 })).toMatchObject({
      answers: 10n,
      inputs: 2n,
      outputTokensMax: 7n,
    });
    expect(parse({ prompt: [1, 2, 3] })).toMatchObject({ answers: 1n, inputTokensGuess: 3n });
  });

  it('is guessed by its text where a stream has no usage', () => {
    const chunk = (text: string) =>
      `data: ${JSON.stringify({ choices: [{ text, index: 0, finish_reason: null }] })}\n\n`;
    const meter = openaiCompletions.meter(parse({}), {
      status: 200,
      headers: { 'content-type': 'text/event-stream' },
      hideUsage: false,
    });
    meter.push(encodeUtf8(`${chunk('Water ')}${chunk('flows.')}data: [DONE]\n\n`));
    expect(meter.read()).toMatchObject({ complete: true, usage: null, outputTokensGuess: 3n });
  });
});

describe('a moderation', () => {
  it('is free, by the model that OpenAI takes where none is named', () => {
    expect(openaiModerations.parse(encodeUtf8('{"input":"a"}'))).toMatchObject({
      metering: 'free',
      model: 'omni-moderation-latest',
    });
  });
});
