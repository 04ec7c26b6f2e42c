import { EventStreamCodec } from '@smithy/eventstream-codec';
import { wireConformance } from '#test/conformance/wire.ts';
import { bodyOf, streamOf, WORDS } from '#test/conformance/wire-fixture.ts';

// Amazon's own codec: the lengths and the CRCs are not ours.
const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes).toString(),
  (text) => Buffer.from(text),
);
const event = (type: string, payload: object): Uint8Array =>
  codec.encode({
    headers: {
      ':event-type': { type: 'string', value: type },
      ':content-type': { type: 'string', value: 'application/json' },
      ':message-type': { type: 'string', value: 'event' },
    },
    body: Buffer.from(JSON.stringify(payload)),
  });
/** With members, and with headers of types, that are yet to come. */
function widen(message: Buffer): Uint8Array {
  const { headers, body } = codec.decode(message);
  return codec.encode({
    headers: {
      ':future': { type: 'integer', value: 7 },
      ':bytes': { type: 'binary', value: Buffer.from([1, 2, 3]) },
      ...headers,
      ':since': { type: 'timestamp', value: new Date(0) },
    },
    body: Buffer.from(
      JSON.stringify({ future: { usage: null }, ...(JSON.parse(String(Buffer.from(body))) as object) }),
    ),
  });
}

const bedrock = { family: 'bedrock', provider: 'bedrock' } as const;
const STREAM = 'application/vnd.amazon.eventstream';
const MODEL = 'anthropic.claude-sonnet-4-20250514-v1%3A0';
const USAGE = { inputTokens: 12, outputTokens: 5, totalTokens: 17 };
const quantities = { calls: '1', input_tokens: '12', output_tokens: '5' };
const conversation = (text: string) => ({ messages: [{ role: 'user', content: [{ text }] }] });

wireConformance(
  'bedrock-converse',
  streamOf({
    ...bedrock,
    path: `/model/${MODEL}/converse-stream`,
    request: conversation,
    contentType: STREAM,
    events: [
      event('messageStart', { role: 'assistant' }),
      ...WORDS.map((text) => event('contentBlockDelta', { contentBlockIndex: 0, delta: { text } })),
      event('contentBlockStop', { contentBlockIndex: 0 }),
      event('messageStop', { stopReason: 'end_turn' }),
      event('metadata', { usage: USAGE, metrics: { latencyMs: 5 } }),
    ],
    unknown: [event('futureEvent', { news: { usage: USAGE } })],
    widen,
    quantities,
  }),
);

wireConformance(
  'bedrock-converse, not streamed',
  bodyOf({
    ...bedrock,
    path: `/model/${MODEL}/converse`,
    request: conversation,
    body: {
      output: { message: { role: 'assistant', content: [{ text: WORDS.join('') }] } },
      stopReason: 'end_turn',
      usage: USAGE,
      metrics: { latencyMs: 5 },
    },
    quantities,
  }),
);

const piece = (value: object): Uint8Array =>
  event('chunk', { bytes: Buffer.from(JSON.stringify(value)).toString('base64'), p: 'abcd' });
const METRICS = { inputTokenCount: 12, outputTokenCount: 5, invocationLatency: 5, firstByteLatency: 2 };
const invocation = (content: string) => ({
  anthropic_version: 'bedrock-2023-05-31',
  max_tokens: 100,
  messages: [{ role: 'user', content }],
});

wireConformance(
  'bedrock-invoke',
  streamOf({
    ...bedrock,
    path: `/model/${MODEL}/invoke-with-response-stream`,
    request: invocation,
    contentType: STREAM,
    events: [
      ...WORDS.map((text) => piece({ type: 'content_block_delta', delta: { type: 'text_delta', text } })),
      piece({ type: 'message_stop', 'amazon-bedrock-invocationMetrics': METRICS }),
    ],
    unknown: [event('futureEvent', { news: 'none' }), piece({ type: 'future', news: METRICS })],
    widen,
    quantities,
  }),
);

wireConformance(
  'bedrock-invoke, not streamed',
  bodyOf({
    ...bedrock,
    path: `/model/${MODEL}/invoke`,
    request: invocation,
    headers: { 'x-amzn-bedrock-input-token-count': '12', 'x-amzn-bedrock-output-token-count': '5' },
    body: { type: 'message', content: [{ type: 'text', text: WORDS.join('') }] },
    quantities,
  }),
);
