import { type Exact, parseExact } from './exact.ts';

/**
 * The units that Weir meters, each with what one of it is and who bills or reports it. They are disjoint: no unit is
 * part of another, so a sum over units never counts a token twice (providers differ in what their totals include; the
 * wire files sort that out). Whatever a provider bills at a price of its own is a unit of its own; what it bills like
 * text (documents, tool prompts, reasoning, embeddings, rejected predictions) is in the tokens of text. A price that
 * hangs on a size, a quality or a length of context is not a unit: it is a variant of the call's price. A thing is metered
 * in one unit: an image by its tokens where those are reported, else as an image.
 */
const MEANINGS = {
  calls: 'One request. Perplexity bills a fee for it.',

  input_tokens: 'Input that was neither read from a cache nor written to one: text and all that is billed like text.',
  input_audio_tokens: 'Uncached audio input (OpenAI audio, Realtime and transcription; Gemini).',
  input_image_tokens: 'Uncached image input (OpenAI images and Realtime; Cohere embeddings).',
  input_video_tokens: 'Uncached video input (Gemini by modality; OpenRouter).',
  cache_read_tokens: 'Input read from a cache: text.',
  cache_read_audio_tokens: 'Audio input read from a cache (OpenAI Realtime, Gemini).',
  cache_read_image_tokens: 'Image input read from a cache (OpenAI Realtime and images, Gemini).',
  cache_read_video_tokens: 'Video input read from a cache (Gemini).',
  cache_write_tokens: 'Input written to a cache that has one lifetime (OpenAI for 30 minutes, Bedrock).',
  cache_write_5m_tokens: 'Input written to a cache for five minutes (Anthropic, Bedrock).',
  cache_write_1h_tokens: 'Input written to a cache for an hour (Anthropic, Bedrock).',
  cache_write_12h_tokens: 'Input written to a cache for twelve hours (OpenAI from GPT-6.1 on).',
  citation_tokens: 'What a search cites, billed beside the input (Perplexity deep research).',
  output_tokens: 'Output: text, reasoning and all that is billed like text.',
  reasoning_tokens: 'Reasoning at a price of its own (Perplexity deep research); elsewhere it is part of the output.',
  output_audio_tokens: 'Audio output (OpenAI audio, Realtime and speech; Gemini).',
  output_image_tokens: 'Image output (OpenAI images, Gemini).',

  cache_storage_token_seconds: 'One token kept in an explicit cache for one second (Gemini bills by token and hour).',

  images: 'One image made (DALL-E, Imagen, Grok, Titan, Nova Canvas).',
  input_images: 'One image read (Cohere embeddings).',
  audio_seconds: 'One second of audio heard (Whisper, Voxtral, Groq and Realtime transcription, translation sessions).',
  output_audio_seconds: 'One second of speech made where no tokens are reported (OpenAI speech).',
  video_seconds: 'One second of video made (Sora, Veo, Nova Reel).',
  characters: 'One character to be spoken (OpenAI TTS, Voxtral TTS).',
  pages: 'One page read (Mistral OCR).',
  search_units: 'One search unit: a query over up to 100 documents (Cohere rerank).',
  classifications: 'One classification (Cohere).',

  web_searches: 'One web search by the provider (OpenAI, Anthropic, xAI, Perplexity, OpenRouter).',
  web_fetches: 'One page fetched by the provider (Anthropic reports it, without a fee).',
  grounding_queries: 'One search query behind a grounded answer (Gemini from 3 on bills these).',
  grounded_prompts: 'One prompt answered with grounding, however many queries it took (Gemini 2 bills these).',
  maps_queries: 'One query to Google Maps behind an answer, or one prompt that made some (Gemini).',
  file_searches: 'One search of a vector store (OpenAI).',
  code_interpreter_sessions: 'One container session of the code interpreter (OpenAI).',
  container_seconds: 'One second of a container that runs code (Anthropic bills by the hour, OpenAI by the minute).',
  computer_calls: 'One action on a computer (OpenAI reports it, without a fee beside the tokens).',
  server_tool_calls: "One use of a provider's tool that has no unit of its own here (xAI, Bedrock).",

  tool_calls: 'One tool called (MCP `tools/call`).',
  resource_reads: 'One resource read (MCP `resources/read`).',
  prompt_reads: 'One prompt fetched (MCP `prompts/get`).',
  sampling_requests: 'One completion that a tool server asks its client for (MCP `sampling/createMessage`).',
  messages: 'One message to an agent (A2A).',
  tasks: 'One task of an agent (A2A, MCP).',
  duration_ms: 'One millisecond that an agent worked, or that a session was open.',
  compute_ms: 'One millisecond of compute that a self-hosted model reports (TGI, Ollama).',
  bytes_in: 'One byte of a request to an agent.',
  bytes_out: 'One byte of its answer.',
} as const;

export type Unit = keyof typeof MEANINGS;

/** Every unit with a sentence for people. */
export const UNIT_MEANINGS: Readonly<Record<Unit, string>> = MEANINGS;

export const UNITS = Object.keys(MEANINGS) as readonly Unit[] as readonly [Unit, ...Unit[]];

export function isUnit(text: string): text is Unit {
  return (UNITS as readonly string[]).includes(text);
}

/** Units that a token limit counts, each once. */
export const TOKEN_UNITS: ReadonlySet<string> = new Set(UNITS.filter((unit) => unit.endsWith('_tokens')));

/** What a request sends in, cached or not: what a provider's tiers by input count, and what a context bounds. */
export const INPUT_TOKEN_UNITS: readonly Unit[] = [
  'input_tokens',
  'input_audio_tokens',
  'input_image_tokens',
  'input_video_tokens',
  'cache_read_tokens',
  'cache_read_audio_tokens',
  'cache_read_image_tokens',
  'cache_read_video_tokens',
  'cache_write_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'cache_write_12h_tokens',
];

/** What comes out, and what a maximum of output bounds. */
export const OUTPUT_TOKEN_UNITS: readonly Unit[] = [
  'output_tokens',
  'reasoning_tokens',
  'output_audio_tokens',
  'output_image_tokens',
];

/** Quantities by unit in plain decimal notation, as they stand in events. A unit that is absent is zero. */
export type Quantities = Readonly<Record<string, string>>;

/** Whole quantities by unit, as the request path counts them. */
export type Counts = Readonly<Partial<Record<Unit, bigint>>>;

export function quantitiesOf(counts: Counts): Quantities {
  const quantities: Record<string, string> = {};
  for (const unit in counts) {
    const count = counts[unit as Unit];
    if (count !== undefined && count !== 0n) quantities[unit] = count.toString();
  }
  return quantities;
}

/** All tokens of a call, input and output, cached or not. */
export function tokensOf(counts: Counts): bigint {
  let total = 0n;
  for (const unit in counts) if (TOKEN_UNITS.has(unit)) total += counts[unit as Unit] ?? 0n;
  return total;
}

/** Parses one quantity of an event: a non-negative decimal. */
export function parseQuantity(text: string): Exact | undefined {
  const value = parseExact(text);
  return value && value.num >= 0n ? value : undefined;
}
