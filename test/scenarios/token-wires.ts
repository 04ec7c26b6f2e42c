import { EventStreamCodec } from '@smithy/eventstream-codec';
import type { WireFamily } from '#config/wires.ts';
import { sseEvent } from '#test/conformance/wire-fixture.ts';

/** How a stream of tokens of a word each is asked for and stands on a wire. */
export interface TokenWire {
  readonly family: WireFamily;
  readonly provider: string;
  readonly model: string;
  readonly path: string;
  request(text: string, maxTokens: number): object;
  readonly contentType: string;
  readonly begin: string | Uint8Array;
  /** One more of them; `tokens` have gone so far, this one included. */
  token(tokens: number): string | Uint8Array;
  end(tokens: number): string | Uint8Array;
  /** What stands in a stream that came to its end. */
  readonly whole: string;
  /** Somebody can tell how many tokens have gone by: we, or the stream itself. */
  readonly exact: boolean;
}

export const TOKEN = ' token';
export const PROMPT_TOKENS = 10;
const SSE = 'text/event-stream';

const usageOf = (tokens: number) => ({
  prompt_tokens: PROMPT_TOKENS,
  completion_tokens: tokens,
  total_tokens: PROMPT_TOKENS + tokens,
});
const chunk = (fields: object): string => sseEvent({ model: 'gpt-4o', ...fields });
const typed = (type: string, fields: object = {}): string => sseEvent({ type, ...fields }, type);

export const CHAT: TokenWire = {
  family: 'openai',
  provider: 'openai',
  model: 'gpt-4o',
  path: '/v1/chat/completions',
  request: (content, max_tokens) => ({
    model: 'gpt-4o',
    stream: true,
    max_tokens,
    messages: [{ role: 'user', content }],
  }),
  contentType: SSE,
  begin: '',
  token: () => chunk({ choices: [{ index: 0, delta: { content: TOKEN } }] }),
  end: (tokens) => `${chunk({ choices: [], usage: usageOf(tokens) })}data: [DONE]\n\n`,
  whole: '[DONE]',
  exact: true,
};

const COMPLETIONS: TokenWire = {
  ...CHAT,
  model: 'gpt-3.5-turbo-instruct',
  path: '/v1/completions',
  request: (prompt, max_tokens) => ({ model: 'gpt-3.5-turbo-instruct', stream: true, max_tokens, prompt }),
  token: () => chunk({ choices: [{ index: 0, text: TOKEN }] }),
};

const RESPONSES: TokenWire = {
  ...CHAT,
  path: '/v1/responses',
  request: (input, max_output_tokens) => ({ model: 'gpt-4o', stream: true, max_output_tokens, input }),
  begin:
    typed('response.created', { response: { id: 'r', created_at: 1, model: 'gpt-4o', status: 'in_progress' } }) +
    typed('response.output_item.added', {
      output_index: 0,
      item: { type: 'message', id: 'm', role: 'assistant', content: [], status: 'in_progress' },
    }),
  token: () => typed('response.output_text.delta', { item_id: 'm', output_index: 0, content_index: 0, delta: TOKEN }),
  end: (tokens) =>
    typed('response.completed', {
      response: {
        id: 'r',
        created_at: 1,
        model: 'gpt-4o',
        status: 'completed',
        usage: { input_tokens: PROMPT_TOKENS, output_tokens: tokens, total_tokens: PROMPT_TOKENS + tokens },
      },
    }),
  whole: 'response.completed',
};

const FIM: TokenWire = {
  ...CHAT,
  provider: 'mistral',
  model: 'codestral-latest',
  path: '/v1/fim/completions',
  request: (prompt, max_tokens) => ({ model: 'codestral-latest', stream: true, max_tokens, prompt }),
  token: () =>
    sseEvent({
      id: 'f',
      model: 'codestral-latest',
      choices: [{ index: 0, delta: { content: TOKEN }, finish_reason: null }],
    }),
  exact: false,
};

const MESSAGES: TokenWire = {
  family: 'anthropic',
  provider: 'anthropic',
  model: 'claude-sonnet-4-5',
  path: '/v1/messages',
  request: (content, max_tokens) => ({
    model: 'claude-sonnet-4-5',
    stream: true,
    max_tokens,
    messages: [{ role: 'user', content }],
  }),
  contentType: SSE,
  begin:
    typed('message_start', {
      message: { id: 'm', model: 'claude-sonnet-4-5', usage: { input_tokens: PROMPT_TOKENS, output_tokens: 1 } },
    }) + typed('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
  token: () => typed('content_block_delta', { index: 0, delta: { type: 'text_delta', text: TOKEN } }),
  end: (output_tokens) =>
    typed('content_block_stop', { index: 0 }) +
    typed('message_delta', { delta: { stop_reason: 'max_tokens' }, usage: { output_tokens } }) +
    typed('message_stop'),
  whole: 'message_stop',
  exact: false,
};

const GEMINI: TokenWire = {
  family: 'gemini',
  provider: 'google',
  model: 'gemini-2.0-flash',
  path: '/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse',
  request: (text, maxOutputTokens) => ({
    contents: [{ role: 'user', parts: [{ text }] }],
    generationConfig: { maxOutputTokens },
  }),
  contentType: SSE,
  begin: '',
  token: (tokens) => geminiPart(TOKEN, tokens),
  end: (tokens) => geminiPart('', tokens, { finishReason: 'MAX_TOKENS' }),
  whole: 'MAX_TOKENS',
  exact: true,
};

function geminiPart(text: string, candidatesTokenCount: number, more: object = {}): string {
  const usageMetadata = {
    promptTokenCount: PROMPT_TOKENS,
    candidatesTokenCount,
    totalTokenCount: PROMPT_TOKENS + candidatesTokenCount,
  };
  const candidates = [{ content: { role: 'model', parts: [{ text }] }, index: 0, ...more }];
  return `data: ${JSON.stringify({ candidates, usageMetadata, modelVersion: 'gemini-2.0-flash' })}\r\n\r\n`;
}

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes).toString(),
  (text) => Buffer.from(text),
);
const text = (value: string) => ({ type: 'string', value }) as const;
const message = (type: string, payload: object): Uint8Array =>
  codec.encode({
    headers: {
      ':event-type': text(type),
      ':content-type': text('application/json'),
      ':message-type': text('event'),
    },
    body: Buffer.from(JSON.stringify(payload)),
  });

const CONVERSE: TokenWire = {
  family: 'bedrock',
  provider: 'bedrock',
  model: 'anthropic.claude-sonnet-4-20250514-v1:0',
  path: '/model/anthropic.claude-sonnet-4-20250514-v1%3A0/converse-stream',
  request: (content, maxTokens) => ({
    messages: [{ role: 'user', content: [{ text: content }] }],
    inferenceConfig: { maxTokens },
  }),
  contentType: 'application/vnd.amazon.eventstream',
  begin: message('messageStart', { role: 'assistant' }),
  token: () => message('contentBlockDelta', { contentBlockIndex: 0, delta: { text: TOKEN } }),
  end: (outputTokens) =>
    Buffer.concat([
      message('messageStop', { stopReason: 'max_tokens' }),
      message('metadata', {
        usage: { inputTokens: PROMPT_TOKENS, outputTokens, totalTokens: PROMPT_TOKENS + outputTokens },
      }),
    ]),
  whole: 'totalTokens',
  exact: false,
};

const COHERE: TokenWire = {
  family: 'cohere',
  provider: 'cohere',
  model: 'command-r-08-2024',
  path: '/v2/chat',
  request: (content, max_tokens) => ({
    model: 'command-r-08-2024',
    stream: true,
    max_tokens,
    messages: [{ role: 'user', content }],
  }),
  contentType: SSE,
  begin: typed('message-start', { id: 'm' }),
  token: () => typed('content-delta', { index: 0, delta: { message: { content: { text: TOKEN } } } }),
  end: (output_tokens) =>
    typed('message-end', {
      delta: {
        finish_reason: 'MAX_TOKENS',
        usage: { billed_units: { input_tokens: PROMPT_TOKENS, output_tokens }, tokens: { output_tokens } },
      },
    }),
  whole: 'message-end',
  exact: false,
};

const OLLAMA: TokenWire = {
  family: 'ollama',
  provider: 'ollama',
  model: 'llama3.2',
  path: '/api/chat',
  request: (content, num_predict) => ({
    model: 'llama3.2',
    messages: [{ role: 'user', content }],
    options: { num_predict },
  }),
  contentType: 'application/x-ndjson',
  begin: '',
  token: () => ollamaLine({ message: { role: 'assistant', content: TOKEN }, done: false }),
  end: (eval_count) =>
    ollamaLine({ message: { content: '' }, done: true, prompt_eval_count: PROMPT_TOKENS, eval_count }),
  whole: '"done":true',
  exact: false,
};

function ollamaLine(fields: object): string {
  return `${JSON.stringify({ model: 'llama3.2', ...fields })}\n`;
}

export const TOKEN_WIRES = {
  'openai-chat': CHAT,
  'openai-completions': COMPLETIONS,
  'openai-responses': RESPONSES,
  'mistral-fim': FIM,
  'anthropic-messages': MESSAGES,
  'gemini-generate': GEMINI,
  'bedrock-converse': CONVERSE,
  'cohere-chat': COHERE,
  'ollama-chat': OLLAMA,
} as const satisfies Readonly<Record<string, TokenWire>>;
