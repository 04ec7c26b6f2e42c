import { describe, expect, it } from 'vitest';
import { dialectOfCall, getMatch } from '../routes.ts';
import { anthropicDialect } from './anthropic-dialect.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import { vertexMessages } from './anthropic-vertex.ts';
import { concat, decodeUtf8, encodeUtf8 } from './bytes.ts';
import type { AnswerHead, Asked, Reading } from './wire.ts';

const encode = (value: unknown) => encodeUtf8(typeof value === 'string' ? value : JSON.stringify(value));
const parse = (fields: object): Asked =>
  anthropicMessages.parse(encode({ model: 'claude-sonnet-5', max_tokens: 100, messages: [], ...fields }));

const STREAM: AnswerHead = {
  status: 200,
  headers: { 'content-type': 'text/event-stream; charset=utf-8' },
  hideUsage: false,
};
const JSON_ANSWER: AnswerHead = { status: 200, headers: { 'content-type': 'application/json' }, hideUsage: false };

interface Event {
  type: string;
  [name: string]: unknown;
}
const sse = (events: readonly Event[]) =>
  events.map((one) => `event: ${one.type}\ndata: ${JSON.stringify(one)}\n\n`).join('');
const start = (usage: object, id = 'msg_1', model = 'claude-sonnet-5-1'): Event => ({
  type: 'message_start',
  message: { id, type: 'message', role: 'assistant', content: [], model, stop_reason: null, usage },
});
const block: Event = { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } };
const text = (content: string): Event => ({
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text: content },
});
const delta = (usage: object, stop_reason = 'end_turn'): Event => ({
  type: 'message_delta',
  delta: { stop_reason },
  usage,
});
const STOP: Event = { type: 'message_stop' };
const FIRST = {
  input_tokens: 12,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 7,
  output_tokens: 1,
  service_tier: 'standard',
};
const WHOLE = [
  start(FIRST),
  block,
  { type: 'ping' },
  text('Water '),
  text('flows.'),
  delta({ output_tokens: 30 }),
  STOP,
];

function run(pieces: readonly Uint8Array[], head = STREAM, asked = parse({})): Reading {
  const meter = anthropicMessages.meter(asked, head);
  const out = pieces.map((piece) => meter.push(piece));
  expect(concat([...out, meter.end()])).toEqual(concat(pieces));
  return meter.read();
}
const streamed = (events: readonly Event[], asked?: Asked) => run([encode(sse(events))], STREAM, asked);

describe('a request for a message', () => {
  it('is read for what matters: the model, the stream, the most that it can answer, who it was for', () => {
    expect(parse({ stream: true, metadata: { user_id: 'ada' }, speed: 'fast', inference_geo: 'us' })).toMatchObject({
      model: 'claude-sonnet-5',
      stream: true,
      outputTokensMax: 100n,
      user: 'ada',
      serviceTier: 'fast',
      region: 'us',
      inputElsewhere: false,
      bounds: {},
    });
  });

  it('may answer its maximum and its budget for thinking where that is the larger one', () => {
    const thinking = (budget_tokens: number) => ({ thinking: { type: 'enabled', budget_tokens } });
    expect(parse({ max_tokens: 2_000, ...thinking(1_024) })).toMatchObject({
      outputTokensMax: 2_000n,
      outputTokensMin: 1_025n,
    });
    expect(parse({ max_tokens: 2_000, ...thinking(10_000) })).toMatchObject({
      outputTokensMax: 12_000n,
      outputTokensMin: 12_000n,
    });
  });

  it('may be billed for caches only where it says so, even in escapes', () => {
    const cached = (ttl?: string) => ({ cache_control: { type: 'ephemeral', ...(ttl && { ttl }) } });
    expect(parse({}).inputUnits).toEqual(['input_tokens', 'cache_read_tokens']);
    expect(parse(cached()).inputUnits).toContain('cache_write_5m_tokens');
    expect(parse(cached()).inputUnits).not.toContain('cache_write_1h_tokens');
    expect(parse(cached('1h')).inputUnits).toContain('cache_write_1h_tokens');
    const hidden = anthropicMessages.parse(
      encode('{"model":"m","messages":[],"cache\\u005fcontrol":{"ttl":"\\u0031h"}}'),
    );
    expect(hidden.inputUnits).toContain('cache_write_1h_tokens');
    const french = anthropicMessages.parse(encode('{"model":"m","messages":[],"system":"\\u00e9t\\u00e9 \\u0436"}'));
    expect(french.inputUnits).toEqual(['input_tokens', 'cache_read_tokens']);
  });

  it('bounds an image by the most that one costs, wherever it stands, and not by its base64', () => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'A'.repeat(300_000) } };
    const result = { type: 'tool_result', tool_use_id: 't', content: [image] };
    const asked = parse({ messages: [{ role: 'user', content: [image, result] }] });
    expect(asked.inputTokensMax).toBeLessThan(2n * 4_784n + 1_000n);
    expect(asked.inputTokensMax).toBeGreaterThan(2n * 4_784n);
    expect(asked.inputElsewhere).toBe(false);
  });

  it('is bounded by the context alone where the body holds a document, a file, or a tool that brings in more', () => {
    const content = (block: object) => ({ messages: [{ role: 'user', content: [block] }] });
    const pdf = { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'AAAA' } };
    const plain = { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'some text' } };
    expect(parse(content(pdf)).inputElsewhere).toBe(true);
    expect(parse(content({ type: 'document', source: { type: 'file', file_id: 'f' } })).inputElsewhere).toBe(true);
    expect(parse(content(plain)).inputElsewhere).toBe(false);
    expect(parse({ tools: [{ name: 'mine', input_schema: {} }] }).inputElsewhere).toBe(false);
    expect(parse({ mcp_servers: [{ type: 'url', url: 'https://x' }] }).inputElsewhere).toBe(true);
    const search = (max_uses?: number) => ({
      type: 'web_search_20260209',
      name: 'web_search',
      ...(max_uses && { max_uses }),
    });
    expect(parse({ tools: [search(3)] })).toMatchObject({ inputElsewhere: true, bounds: { web_searches: 3n } });
    expect(parse({ tools: [search()] }).bounds).toEqual({ web_searches: 10n });
  });

  it('gets another name for its model and is otherwise the same', () => {
    const body = '{ "max_tokens":1, "model" : "a", "messages":[{"model":"a"}] }';
    const asked = anthropicMessages.parse(encode(body));
    const sent = anthropicMessages.rewrite(encode(body), asked, { model: 'b', includeUsage: true });
    expect(decodeUtf8(sent)).toBe(body.replace('"model" : "a"', '"model" : "b"'));
    expect(decodeUtf8(anthropicMessages.rewrite(encode(body), asked, { model: null, includeUsage: true }))).toBe(body);
    const lowered = anthropicMessages.rewrite(encode(body), asked, {
      model: null,
      includeUsage: true,
      outputTokensMax: 9n,
    });
    expect(decodeUtf8(lowered)).toBe(body.replace('"max_tokens":1', '"max_tokens":9'));
  });
});

describe('a message at Vertex', () => {
  const path = '/v1/projects/p/locations/eu/publishers/anthropic/models/claude-sonnet-5%4020260101:streamRawPredict';
  const body = encode({ anthropic_version: 'vertex-2023-10-16', max_tokens: 5, messages: [] });

  it('has its model in the path, and says there whether it is a stream', () => {
    const { endpoint, params } = getMatch('POST', path);
    expect(endpoint).toMatchObject({ kind: 'wire', wire: { name: 'vertex-messages' } });
    const call = { method: 'POST', path, query: '', headers: {} };
    expect(vertexMessages.parse(body, call, params)).toMatchObject({
      model: 'claude-sonnet-5@20260101',
      stream: true,
      outputTokensMax: 5n,
    });
    const plain = { ...call, path: path.replace('streamRawPredict', 'rawPredict') };
    expect(vertexMessages.parse(body, plain, params).stream).toBe(false);
  });

  it('is told of faults in the words of Anthropic, and counts tokens for nothing', () => {
    expect(dialectOfCall({ path, headers: {} })).toBe(anthropicDialect);
    const counting = getMatch(
      'POST',
      '/v1/projects/p/locations/eu/publishers/anthropic/models/count-tokens:rawPredict',
    );
    expect(counting.endpoint).toMatchObject({ wire: { name: 'vertex-count-tokens' } });
  });
});

describe('a stream of a message', () => {
  it('is metered by what it stated last, at every cut', () => {
    const bytes = encode(sse(WHOLE));
    for (let cut = 0; cut <= bytes.length; cut++) {
      const reading = run([bytes.subarray(0, cut), bytes.subarray(cut)]);
      expect(reading).toMatchObject({
        complete: true,
        failed: false,
        model: 'claude-sonnet-5-1',
        serviceTier: 'default',
      });
      expect(reading.usage).toMatchObject({
        counts: { calls: 1n, input_tokens: 12n, cache_read_tokens: 7n, output_tokens: 30n },
        raw: { ...FIRST, output_tokens: 30 },
      });
      expect(reading.usage?.estimated).toBeUndefined();
    }
  });

  it('takes input that grew with what tools brought in from its end, and what the end leaves out from its start', () => {
    const grown = streamed([
      start(FIRST),
      delta({ input_tokens: 15_665, output_tokens: 9, cache_read_input_tokens: null }),
      STOP,
    ]);
    expect(grown.usage?.counts).toMatchObject({ input_tokens: 15_665n, cache_read_tokens: 7n, output_tokens: 9n });
  });

  it('counts an answer once that begins twice, and two that were spliced both', () => {
    const twice = streamed([start(FIRST), start(FIRST), block, delta({ output_tokens: 30 }), STOP]);
    expect(twice.usage?.counts).toMatchObject({ calls: 1n, input_tokens: 12n, output_tokens: 30n });
    const spliced = streamed([
      start(FIRST),
      delta({ output_tokens: 3 }),
      start(FIRST, 'msg_2'),
      delta({ output_tokens: 4 }),
      STOP,
    ]);
    expect(spliced.usage?.counts).toMatchObject({ calls: 1n, input_tokens: 24n, output_tokens: 7n });
  });

  it('that breaks off is billed for the input that was stated and for the output that went by, as an estimate', () => {
    const long = text('many words '.repeat(100));
    const cut = streamed([start(FIRST), block, long]);
    expect(cut).toMatchObject({ complete: false, usage: { estimated: true } });
    expect(cut.usage?.counts).toMatchObject({ input_tokens: 12n, output_tokens: 275n });
    expect(streamed([start(FIRST)]).usage?.counts).toMatchObject({ input_tokens: 12n, output_tokens: 1n });
    expect(streamed([{ type: 'ping' }]).usage).toBeNull();
  });

  it('guesses its output by text, thinking and the input of tools, and by nothing else', () => {
    const of = (type: string, value: object) => ({ type: 'content_block_delta', index: 0, delta: { type, ...value } });
    const events = [
      start(FIRST),
      of('thinking_delta', { thinking: 'x'.repeat(40) }),
      of('signature_delta', { signature: 's'.repeat(400) }),
      of('input_json_delta', { partial_json: 'y'.repeat(40) }),
      text('z'.repeat(20)),
    ];
    expect(streamed(events).outputTokensGuess).toBe(25n);
  });

  it('says that it failed when it holds an error', () => {
    const error = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } };
    expect(streamed([start(FIRST), block, error])).toMatchObject({ failed: true, complete: false });
  });

  it('that was refused before any output is billed for nothing, and for all of it when it was refused later', () => {
    const early = streamed([start(FIRST), delta({ output_tokens: 1 }, 'refusal'), STOP]);
    expect(early).toMatchObject({ complete: true, usage: { counts: { calls: 1n } } });
    expect(early.usage?.counts).toEqual({ calls: 1n });
    expect(early.usage?.raw).toMatchObject({ input_tokens: 12 });
    const late = streamed([start(FIRST), block, text('Well'), delta({ output_tokens: 3 }, 'refusal'), STOP]);
    expect(late.usage?.counts).toMatchObject({ input_tokens: 12n, output_tokens: 3n });
  });

  it('names the model that took over, the tier and the region', () => {
    const iterations = [{ type: 'fallback_message', model: 'claude-opus-5', input_tokens: 5, output_tokens: 6 }];
    const reading = streamed([
      start({ ...FIRST, speed: 'fast', inference_geo: 'us' }),
      delta({ input_tokens: 5, output_tokens: 6, iterations }),
      STOP,
    ]);
    expect(reading).toMatchObject({ model: 'claude-opus-5', serviceTier: 'fast', region: 'us' });
    expect(streamed([start({ ...FIRST, inference_geo: 'not_available' })]).region).toBeNull();
  });

  it('can be broken off between two events, in words that its SDK raises', () => {
    const meter = anthropicMessages.meter(parse({}), STREAM);
    const bytes = encode(sse([start(FIRST)]));
    meter.push(bytes.subarray(0, 20));
    expect(meter.breakOff('Too long.', 'upstream_timeout')).toBeUndefined();
    meter.push(bytes.subarray(20));
    const words = decodeUtf8(meter.breakOff('Too long.', 'upstream_timeout') ?? new Uint8Array());
    expect(words).toMatch(/^event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"Too long\./);
  });
});

describe('a whole message', () => {
  const message = (fields: object) => ({
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude-sonnet-5-1',
    content: [{ type: 'text', text: 'Water flows.' }],
    stop_reason: 'end_turn',
    usage: { ...FIRST, output_tokens: 30 },
    ...fields,
  });

  it('is metered by its usage, at every cut', () => {
    const bytes = encode(message({}));
    for (let cut = 0; cut <= bytes.length; cut++) {
      const reading = run([bytes.subarray(0, cut), bytes.subarray(cut)], JSON_ANSWER);
      expect(reading).toMatchObject({
        complete: true,
        failed: false,
        model: 'claude-sonnet-5-1',
        outputTokensGuess: 3n,
      });
      expect(reading.usage?.counts).toMatchObject({ input_tokens: 12n, output_tokens: 30n });
    }
  });

  it('is billed for nothing when it was refused without content', () => {
    const of = (fields: object) => run([encode(message(fields))], JSON_ANSWER).usage?.counts;
    expect(of({ content: [], stop_reason: 'refusal' })).toEqual({ calls: 1n });
    expect(of({ stop_reason: 'refusal' })).toMatchObject({ input_tokens: 12n });
  });

  it('has no usage when it is an error', () => {
    const error = { type: 'error', error: { type: 'invalid_request_error', message: 'no' }, request_id: 'req_1' };
    expect(run([encode(error)], JSON_ANSWER)).toMatchObject({ usage: null, failed: true });
  });
});
