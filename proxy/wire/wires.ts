import { a2a, a2aDialect, a2aHttp } from './a2a.ts';
import { agent } from './agent.ts';
import { agentDialect } from './agent-dialect.ts';
import { anthropicBatches, anthropicStoredBatches } from './anthropic-batches.ts';
import { anthropicCountTokens } from './anthropic-count-tokens.ts';
import { anthropicDialect } from './anthropic-dialect.ts';
import { anthropicFiles } from './anthropic-files.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import { vertexCountTokens, vertexMessages } from './anthropic-vertex.ts';
import { AZURE } from './azure.ts';
import { bedrockConverse, bedrockCountTokens, bedrockInvoke } from './bedrock.ts';
import { bedrockDialect } from './bedrock-dialect.ts';
import { cohereChat, cohereEmbed, cohereRerank } from './cohere.ts';
import { cohereDialect } from './cohere-dialect.ts';
import type { Dialect } from './dialect.ts';
import { geminiCount, vertexCount } from './gemini-count.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { geminiEmbed, vertexEmbed } from './gemini-embed.ts';
import { geminiFiles } from './gemini-files.ts';
import { geminiGenerate, vertexGenerate } from './gemini-generate.ts';
import { geminiInteractions } from './gemini-interactions.ts';
import { geminiLive, vertexLive } from './gemini-live.ts';
import { geminiPredict, vertexPredict } from './gemini-predict.ts';
import { geminiOperations, geminiVideos, vertexOperations, vertexVideos } from './gemini-videos.ts';
import { mcp, mcpDialect } from './mcp.ts';
import { mcpSse } from './mcp-sse.ts';
import { mistralFill, mistralOcr } from './mistral.ts';
import { ollamaChat, ollamaEmbed, ollamaGenerate } from './ollama.ts';
import { ollamaDialect } from './ollama-dialect.ts';
import { openaiBatches, openaiStoredBatches } from './openai-batches.ts';
import { openaiChat } from './openai-chat.ts';
import { openaiCompletions } from './openai-completions.ts';
import { openaiDialect } from './openai-dialect.ts';
import { openaiEmbeddings } from './openai-embeddings.ts';
import { openaiFiles } from './openai-files.ts';
import { openaiImages } from './openai-images.ts';
import { openaiModerations } from './openai-moderations.ts';
import { azureRealtime, openaiRealtime } from './openai-realtime.ts';
import { openaiRealtimeCalls, openaiRealtimeSecrets } from './openai-realtime-calls.ts';
import { openaiInputTokens, openaiResponses } from './openai-responses.ts';
import { azureResponsesSocket, openaiResponsesSocket } from './openai-responses-socket.ts';
import { openaiSpeech } from './openai-speech.ts';
import { openaiStoredResponses } from './openai-stored-responses.ts';
import { openaiTranscriptions } from './openai-transcriptions.ts';
import { openaiStoredVideos, openaiVideos } from './openai-videos.ts';
import type { Wire } from './wire.ts';

/** Every wire that is served. A new one is a file and a line here. */
export const WIRES: readonly Wire[] = [
  openaiChat,
  openaiCompletions,
  openaiResponses,
  openaiInputTokens,
  openaiStoredResponses,
  // Before the one that has its paths too.
  anthropicFiles,
  openaiFiles,
  openaiBatches,
  openaiStoredBatches,
  openaiResponsesSocket,
  azureResponsesSocket,
  openaiRealtime,
  azureRealtime,
  openaiRealtimeCalls,
  openaiRealtimeSecrets,
  openaiVideos,
  openaiStoredVideos,
  openaiEmbeddings,
  openaiModerations,
  openaiImages,
  openaiSpeech,
  openaiTranscriptions,
  ...AZURE,
  bedrockConverse,
  bedrockInvoke,
  bedrockCountTokens,
  anthropicMessages,
  anthropicCountTokens,
  anthropicBatches,
  anthropicStoredBatches,
  vertexCountTokens,
  vertexMessages,
  geminiGenerate,
  geminiEmbed,
  geminiCount,
  geminiInteractions,
  geminiLive,
  vertexLive,
  geminiFiles,
  geminiPredict,
  geminiVideos,
  geminiOperations,
  vertexGenerate,
  vertexEmbed,
  vertexCount,
  vertexPredict,
  vertexVideos,
  vertexOperations,
  cohereChat,
  cohereEmbed,
  cohereRerank,
  ollamaChat,
  ollamaGenerate,
  ollamaEmbed,
  mistralFill,
  mistralOcr,
  mcp,
  mcpSse,
  a2aHttp,
  a2a,
  agent,
];

/** Those that claim paths or a header of their own. */
const DIALECTS: readonly Dialect[] = [
  bedrockDialect,
  anthropicDialect,
  geminiDialect,
  cohereDialect,
  ollamaDialect,
  mcpDialect,
  a2aDialect,
  agentDialect,
];

/** Whose words to use for what no wire answers. */
export function dialectOf(path: string, headers: Readonly<Record<string, unknown>>): Dialect {
  return (
    DIALECTS.find(({ paths }) => paths.some((beginning) => path.startsWith(beginning))) ??
    DIALECTS.find(({ header }) => header !== null && headers[header] !== undefined) ??
    openaiDialect
  );
}
