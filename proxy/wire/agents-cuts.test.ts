import { describe, expect, it } from 'vitest';
import { a2aMeter } from './a2a-meter.ts';
import { encodeUtf8 } from './bytes.ts';
import { mcpMeter } from './mcp-meter.ts';
import type { AnswerHead, Meter } from './wire.ts';

const head = (type: string): AnswerHead => ({ status: 200, headers: { 'content-type': type }, hideUsage: false });
const events = (...values: object[]): string =>
  values.map((one) => `id: 1\r\ndata: ${JSON.stringify(one)}\r\n\r\n`).join('');
const text = 'a "quoted" \\ and wörter {"id":1,"error":{"code":1}}';
const result = (id: number | string, more: object = {}) => ({
  jsonrpc: '2.0',
  id,
  result: { content: [{ text }], ...more },
});
const error = (id: number) => ({ error: { code: -1, message: text }, id, jsonrpc: '2.0' });
const task = { id: 't-1', contextId: 'c-1', history: [{ taskId: 'other', parts: [{ text }] }] };

const tools = (...ids: (number | string)[]) => ids.map((id) => ({ id, unit: 'tool_calls' as const }));
const SSE = head('text/event-stream');
const JSON_HEAD = head('application/json');
const sent = { callId: 1, isRpc: true, task: null };

const cases: [string, () => Meter, string, object][] = [
  ['a result', () => mcpMeter(tools(1), false, JSON_HEAD), JSON.stringify(result(1)), { calls: 1n, tool_calls: 1n }],
  [
    'a list of results',
    () => mcpMeter(tools(1, 2, 'x'), false, JSON_HEAD),
    JSON.stringify([result('x'), error(2), result(1)]),
    { calls: 1n, tool_calls: 2n },
  ],
  [
    'a stream that asks for completions',
    () => mcpMeter(tools(1), true, SSE),
    events({ id: 1, method: 'sampling/createMessage', params: { text } }, error(9), result(1)),
    { calls: 1n, tool_calls: 1n, sampling_requests: 1n },
  ],
  ['an error', () => mcpMeter(tools(1), true, SSE), events(error(1)), {}],
  [
    'a message to an agent, as a task',
    () => a2aMeter(sent, SSE),
    events({ id: 1, result: { task } }, { id: 1, result: { statusUpdate: { taskId: 't-1' } } }),
    { calls: 1n, messages: 1n, tasks: 1n },
  ],
  [
    'a message to an agent over HTTP',
    () => a2aMeter({ ...sent, isRpc: false }, JSON_HEAD),
    JSON.stringify({ task }),
    { calls: 1n, messages: 1n, tasks: 1n },
  ],
];

describe('what an agent answers', () => {
  it.each(cases)('counts the same wherever its bytes are cut: %s', (_, newMeter, answer, counts) => {
    const bytes = encodeUtf8(answer);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const meter = newMeter();
      for (const part of [bytes.slice(0, cut), bytes.slice(cut)]) expect(meter.push(part)).toBe(part);
      const reading = meter.read();
      expect([cut, reading.usage?.counts, reading.complete]).toEqual([cut, counts, true]);
    }
    const meter = newMeter();
    for (const byte of bytes) meter.push(Uint8Array.of(byte));
    expect(meter.read().usage?.counts).toEqual(counts);
  });
});
