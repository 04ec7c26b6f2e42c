/**
 * How fast each wire's scanner reads a stream, by the processor time it takes: `node bench/wires.ts`, or `node bench/wires.ts gemini` for
 * those whose name holds the word. It repeats recorded streams where they are at hand (../shared/data/wire), else made
 * ones of the same form, in chunks as they come from a network: about 1,400 bytes, and 16 kB when a reader falls behind.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { anthropicMessages } from '#proxy/wire/anthropic-messages.ts';
import { CohereReader } from '#proxy/wire/cohere-usage.ts';
import { GeminiReader } from '#proxy/wire/gemini-meter.ts';
import { ollamaChat } from '#proxy/wire/ollama.ts';
import { openaiChat } from '#proxy/wire/openai-chat.ts';
import { openaiResponses } from '#proxy/wire/openai-responses.ts';
import { jsonMeter, sseMeter } from '#proxy/wire/paths-meter.ts';
import type { Meter } from '#proxy/wire/wire.ts';

interface Stream {
  readonly name: string;
  /** A recording of one event's data a line, or a made event where there is none. */
  readonly recorded: string;
  readonly made: string;
  /** How an event stands on the wire. */
  readonly frame: (data: string) => string;
  readonly meter: () => Meter;
}

const RECORDINGS = fileURLToPath(new URL('../../shared/data/wire/', import.meta.url));
const CHUNKS = [1_400, 16_384];
const STREAM_BYTES = 4 << 20;
const WARM_ROUNDS = 12;
const ROUNDS = 24;

const EVENT_STREAM = { status: 200, headers: { 'content-type': 'text/event-stream' }, hideUsage: false };
const sse = (data: string): string => `data: ${data}\n\n`;

const typed = (data: string): string => `event: ${JSON.parse(data).type}\ndata: ${data}\n\n`;

const GEMINI =
  '{"candidates":[{"content":{"parts":[{"text":"There are **3** of them."}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5,"totalTokenCount":199,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9}],"thoughtsTokenCount":185},"modelVersion":"gemini-3-pro-preview","responseId":"bH6LaZW8Fp_3nsEPqtaSwQ4"}';

const STREAMS: readonly Stream[] = [
  {
    name: 'openai-chat',
    recorded: 'mistral-text.chunks.txt',
    made: '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" water"},"finish_reason":null}]}',
    frame: sse,
    meter: () => openaiChat.meter(ASKED_CHAT, EVENT_STREAM),
  },
  {
    name: 'openai-chat, usage hidden',
    recorded: 'mistral-text.chunks.txt',
    made: '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" water"},"finish_reason":null}],"usage":null}',
    frame: sse,
    meter: () => openaiChat.meter(ASKED_CHAT, { ...EVENT_STREAM, hideUsage: true }),
  },
  {
    name: 'openai-responses',
    recorded: 'openai-responses-web-search.chunks.txt',
    made: '{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":" water","sequence_number":7}',
    frame: typed,
    meter: () => openaiResponses.meter(ASKED_RESPONSE, EVENT_STREAM),
  },
  {
    name: 'anthropic-messages',
    recorded: 'anthropic-text.chunks.txt',
    made: '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" water"}}',
    frame: typed,
    meter: () => anthropicMessages.meter(ASKED_MESSAGE, EVENT_STREAM),
  },
  {
    name: 'gemini',
    recorded: 'gemini-text.chunks.txt',
    made: GEMINI,
    frame: (data) => `data: ${data}\r\n\r\n`,
    meter: () => sseMeter(new GeminiReader(true)),
  },
  {
    name: 'gemini, small events',
    recorded: '',
    made: GEMINI,
    frame: (data) => `data: ${data}\r\n\r\n`,
    meter: () => sseMeter(new GeminiReader(true)),
  },
  {
    name: 'gemini, a list',
    recorded: 'gemini-text.chunks.txt',
    made: GEMINI,
    frame: (data) => `${data}\r\n,`,
    meter: () => jsonMeter(new GeminiReader(true)),
  },
  {
    name: 'cohere-chat',
    recorded: 'cohere-chat-v2.chunks.txt',
    made: '{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":" water"}}}}',
    frame: typed,
    meter: () => sseMeter(new CohereReader(true)),
  },
  {
    name: 'ollama-chat',
    recorded: '',
    made: '{"model":"llama3.2","created_at":"2026-11-20T08:52:19.385406455Z","message":{"role":"assistant","content":" water"},"done":false}',
    frame: (data) => `${data}\n`,
    meter: () => ollamaChat.meter(ASKED_OLLAMA),
  },
];

const asked = (body: object) => new TextEncoder().encode(JSON.stringify({ model: 'm', ...body }));
const ASKED_RESPONSE = openaiResponses.parse(asked({ input: 'Hello', stream: true }), { path: '/v1/responses' });
const ASKED_MESSAGE = anthropicMessages.parse(asked({ messages: [], max_tokens: 9, stream: true }));
const ASKED_OLLAMA = ollamaChat.parse(asked({ messages: [] }));
const ASKED_CHAT = openaiChat.parse(new TextEncoder().encode('{"model":"m","messages":[],"stream":true}'));

/** A long stream that ends once, as it was recorded. */
function bytesOf({ recorded, made, frame }: Stream): Uint8Array {
  const file = `${RECORDINGS}${recorded}`;
  const lines = recorded !== '' && existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [made];
  const encode = (some: readonly string[]) => new TextEncoder().encode(some.map(frame).join(''));
  // What states usage comes once, as in every stream, unless all of it does.
  const plain = lines.filter((line) => !/"usage(Metadata)?":\{/.test(line));
  const again = encode(plain.length > 0 ? plain : lines);
  const last = encode(lines.filter((line) => !plain.includes(line)).slice(-1));
  const times = Math.ceil(STREAM_BYTES / again.length);
  const whole = new Uint8Array(times * again.length + last.length);
  for (let n = 0; n < times; n++) whole.set(again, n * again.length);
  whole.set(last, times * again.length);
  return whole;
}

/** Cut beforehand, so that cutting is not measured. */
function chunksOf(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.slice(i * size, (i + 1) * size));
}

function pass(stream: Stream, chunks: readonly Uint8Array[]): void {
  const meter = stream.meter();
  for (const chunk of chunks) meter.push(chunk);
  meter.end();
  meter.read();
}

function measure(stream: Stream, bytes: Uint8Array, size: number): number {
  const chunks = chunksOf(bytes, size);
  for (let n = 0; n < WARM_ROUNDS; n++) pass(stream, chunks);
  const before = process.cpuUsage();
  for (let n = 0; n < ROUNDS; n++) pass(stream, chunks);
  const { user, system } = process.cpuUsage(before);
  // Bytes a microsecond are megabytes a second.
  return (bytes.length * ROUNDS) / (user + system);
}

const [word = ''] = process.argv.slice(2);
for (const stream of STREAMS.filter(({ name }) => name.includes(word))) {
  const bytes = bytesOf(stream);
  const figures = CHUNKS.map((size) => `${measure(stream, bytes, size).toFixed(0)} MB/s in chunks of ${size}`);
  console.log(`${stream.name}: ${figures.join(', ')}`);
}
