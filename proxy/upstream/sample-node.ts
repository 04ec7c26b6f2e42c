import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { get_encoding } from 'tiktoken';

/**
 * The built-in sample upstream of the demonstration mode: a small server on loopback that speaks the OpenAI dialect
 * (chat completions, streaming and not, and embeddings) and Anthropic's Messages, with its counting of tokens, and reports usage as the providers
 * do. It answers with fixed sentences; its token counts are real counts of its own text.
 */
export interface SampleUpstream {
  /** `http://127.0.0.1:PORT`, without a path. */
  url: string;
  close(): Promise<void>;
}

const BODY_BYTES_MAX = 4 * 1024 * 1024;
const ANSWER =
  'This is the sample upstream of Weir. It holds no model: it only lets you see that calls are metered, ' +
  'that limits hold, and what an invoice looks like. Point an upstream at a real provider to get real answers.';
const EMBEDDING_DIMENSIONS = 64;

interface SampleRequest {
  model?: string;
  stream?: boolean;
  stream_options?: { include_usage?: boolean } | null;
  max_tokens?: number;
  max_completion_tokens?: number;
  messages?: { content?: unknown }[];
  system?: unknown;
  input?: unknown;
}

interface Answer {
  /** Pieces of text, one token each. */
  pieces: string[];
  inputTokens: number;
  finished: boolean;
}

export async function startSampleUpstream(): Promise<SampleUpstream> {
  const tokens = get_encoding('o200k_base');
  const decoder = new TextDecoder();
  const count = (text: string): number => tokens.encode(text, 'all').length;
  const pieces = [...tokens.encode(ANSWER)].map((token) => decoder.decode(tokens.decode(Uint32Array.of(token))));
  let served = 0;

  const answerTo = (request: SampleRequest): Answer => {
    const outputMax = request.max_completion_tokens ?? request.max_tokens ?? pieces.length;
    return {
      pieces: pieces.slice(0, Math.max(0, outputMax)),
      inputTokens: count(textOf(request.system) + (request.messages ?? []).map((m) => textOf(m.content)).join('\n')),
      finished: outputMax >= pieces.length,
    };
  };

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendJson(response, 400, { error: { message: String(error), type: 'invalid_request_error' } });
    });
  });

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (incoming.url ?? '/').split('?')[0];
    if (incoming.method !== 'POST') {
      sendJson(response, 404, { error: { message: 'not found', type: 'invalid_request_error' } });
      return;
    }
    const request = JSON.parse(await readBody(incoming)) as SampleRequest;
    const id = `sample-${++served}`;
    if (path === '/v1/chat/completions') chatCompletions(request, response, id, answerTo(request));
    else if (path === '/v1/messages') messages(request, response, id, answerTo(request));
    else if (path === '/v1/messages/count_tokens') {
      sendJson(response, 200, { input_tokens: answerTo(request).inputTokens });
    } else if (path === '/v1/embeddings') embeddings(request, response);
    else sendJson(response, 404, { error: { message: 'not found', type: 'invalid_request_error' } });
  }

  function embeddings(request: SampleRequest, response: ServerResponse): void {
    const inputs = Array.isArray(request.input) ? request.input : [request.input];
    const promptTokens = inputs.reduce((sum: number, input) => sum + count(textOf(input)), 0);
    sendJson(response, 200, {
      object: 'list',
      model: request.model,
      data: inputs.map((_, index) => ({
        object: 'embedding',
        index,
        embedding: Array.from({ length: EMBEDDING_DIMENSIONS }, (__, i) => ((index + i) % 7) / 7),
      })),
      usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
    });
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => {
          tokens.free();
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

function chatCompletions(request: SampleRequest, response: ServerResponse, id: string, answer: Answer): void {
  const usage = {
    prompt_tokens: answer.inputTokens,
    completion_tokens: answer.pieces.length,
    total_tokens: answer.inputTokens + answer.pieces.length,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  };
  const finishReason = answer.finished ? 'stop' : 'length';
  const head = { id, created: 1_700_000_000, model: request.model };
  if (!request.stream) {
    sendJson(response, 200, {
      ...head,
      object: 'chat.completion',
      choices: [
        { index: 0, message: { role: 'assistant', content: answer.pieces.join('') }, finish_reason: finishReason },
      ],
      usage,
    });
    return;
  }
  const withUsage = request.stream_options?.include_usage === true;
  const chunk = (choices: object[], chunkUsage: object | null): string =>
    `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices, ...(withUsage ? { usage: chunkUsage } : {}) })}\n\n`;
  const events = [
    chunk([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }], null),
    ...answer.pieces.map((content) => chunk([{ index: 0, delta: { content }, finish_reason: null }], null)),
    chunk([{ index: 0, delta: {}, finish_reason: finishReason }], null),
  ];
  if (withUsage) events.push(chunk([], usage));
  events.push('data: [DONE]\n\n');
  sendEvents(response, events);
}

function messages(request: SampleRequest, response: ServerResponse, id: string, answer: Answer): void {
  const stopReason = answer.finished ? 'end_turn' : 'max_tokens';
  const message = { id, type: 'message', role: 'assistant', model: request.model };
  const usage = { input_tokens: answer.inputTokens, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };
  if (!request.stream) {
    sendJson(response, 200, {
      ...message,
      content: [{ type: 'text', text: answer.pieces.join('') }],
      stop_reason: stopReason,
      stop_sequence: null,
      usage: { ...usage, output_tokens: answer.pieces.length },
    });
    return;
  }
  const event = (type: string, data: object): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
  sendEvents(response, [
    event('message_start', {
      message: { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } },
    }),
    event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
    ...answer.pieces.map((text) => event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })),
    event('content_block_stop', { index: 0 }),
    event('message_delta', {
      delta: { stop_reason: stopReason, stop_sequence: null },
      usage: { output_tokens: answer.pieces.length },
    }),
    event('message_stop', {}),
  ]);
}

/** One event per turn of the event loop, so that a stream looks like a stream. */
function sendEvents(response: ServerResponse, events: string[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  let next = 0;
  const step = (): void => {
    if (response.destroyed) return;
    const event = events[next++];
    if (event === undefined) response.end();
    else if (response.write(event)) setImmediate(step);
    else response.once('drain', step);
  };
  step();
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length });
  response.end(bytes);
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new RangeError('body too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The text of a message's content: a string, or the text parts of a list. */
function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part: unknown) => (part && typeof part === 'object' && 'text' in part ? String(part.text) : ''))
    .join('');
}
