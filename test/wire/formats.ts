/** How a recorded format is asked for, and how its events stand on the wire where only their data was recorded. */
export interface Format {
  path(model: string): string;
  /** A request that would get such an answer, for recordings of the answer alone: JSON, or a form. */
  request(model: string, stream: boolean): object | FormData;
  /** An event from its data. */
  frame(data: string): string;
  /** What a stream ends with. */
  end: string;
  /** Its streams state usage only to those who ask: we ask, and hide what the client did not ask for. */
  asksForUsage: boolean;
}

const HELLO = [{ role: 'user', content: 'Hello' }];

const openai = (path: string): Format => ({
  path: () => path,
  request: (model, stream) => ({ model, messages: HELLO, stream }),
  frame: (data) => `data: ${data}\n\n`,
  end: 'data: [DONE]\n\n',
  asksForUsage: true,
});

const typed = (data: string): string => {
  const { type } = JSON.parse(data) as { type?: unknown };
  return `event: ${String(type)}\ndata: ${data}\n\n`;
};

/** What is asked for at a path that was recorded with it. */
const BEDROCK: Format = {
  path: (model) => `/model/${model}/converse`,
  request: () => ({ messages: [{ role: 'user', content: [{ text: 'Hello' }] }] }),
  frame: (data) => data,
  end: '',
  asksForUsage: false,
};

/** A piece of sound without a head, of which nobody can tell how long it is. */
function sound(model: string): FormData {
  const form = new FormData();
  form.append('model', model);
  form.append('file', new Blob([new Uint8Array(1_000)]), 'speech.bin');
  return form;
}

/** Azure, Mistral and xAI serve the format of OpenAI's chat. */
export const FORMATS: Readonly<Record<string, Format>> = {
  'openai.chat': openai('/v1/chat/completions'),
  'openai.completions': openai('/v1/completions'),
  'openai.embeddings': openai('/v1/embeddings'),
  'openai.responses': {
    path: () => '/v1/responses',
    request: (model, stream) => ({ model, input: 'Hello', tools: [{ type: 'web_search' }], stream }),
    frame: typed,
    end: '',
    asksForUsage: false,
  },
  'openai.audio.transcriptions': {
    path: () => '/v1/audio/transcriptions',
    request: () => sound('whisper-1'),
    frame: (data) => data,
    end: '',
    asksForUsage: false,
  },
  'bedrock.converse': BEDROCK,
  'bedrock.converseStream': BEDROCK,
  'azure.chat': openai('/v1/chat/completions'),
  'mistral.chat': openai('/v1/chat/completions'),
  'xai.chat': openai('/v1/chat/completions'),
  'anthropic.messages': {
    path: () => '/v1/messages',
    request: (model, stream) => ({ model, max_tokens: 8_192, messages: HELLO, stream }),
    frame: typed,
    end: '',
    asksForUsage: false,
  },
  'gemini.generateContent': {
    path: (model) => `/v1beta/models/${model}:streamGenerateContent?alt=sse`,
    request: () => ({ contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] }),
    frame: (data) => `data: ${data}\r\n\r\n`,
    end: '',
    asksForUsage: false,
  },
  gemini: {
    path: () => '/v1beta/models/gemini-2.5-flash:generateContent',
    request: () => ({ contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] }),
    frame: (data) => data,
    end: '',
    asksForUsage: false,
  },
  'cohere.chat.v2': {
    path: () => '/v2/chat',
    request: (model, stream) => ({ model, messages: HELLO, stream }),
    frame: typed,
    end: 'data: [DONE]\n\n',
    asksForUsage: false,
  },
};
