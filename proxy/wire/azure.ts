import { openaiBatches, openaiStoredBatches } from './openai-batches.ts';
import { openaiChat } from './openai-chat.ts';
import { openaiCompletions } from './openai-completions.ts';
import { openaiEmbeddings } from './openai-embeddings.ts';
import { openaiFiles } from './openai-files.ts';
import { openaiImages } from './openai-images.ts';
import { openaiInputTokens, openaiResponses } from './openai-responses.ts';
import { openaiSpeech } from './openai-speech.ts';
import { openaiStoredResponses } from './openai-stored-responses.ts';
import { openaiTranscriptions } from './openai-transcriptions.ts';
import { openaiStoredVideos, openaiVideos } from './openai-videos.ts';
import type { Wire, WireEndpoint } from './wire.ts';

const OPENAI = '/v1/';
/** Those that Azure has never had by deployment. */
const WITHOUT_DEPLOYMENT = ['/v1/responses', '/v1/files', '/v1/batches', '/v1/videos'];

/**
 * Azure OpenAI speaks the formats of OpenAI at paths of its own, of two kinds: with the deployment in the path, which is
 * then the model whatever the body says, and below `/openai/v1` as OpenAI itself. So does Groq, whose own client asks
 * there: where no upstream is Azure's, those that speak OpenAI's API are asked at its path.
 */
export const AZURE: readonly Wire[] = [
  openaiChat,
  openaiCompletions,
  openaiEmbeddings,
  openaiImages,
  openaiSpeech,
  openaiTranscriptions,
  openaiResponses,
  openaiInputTokens,
  openaiStoredResponses,
  openaiFiles,
  openaiBatches,
  openaiStoredBatches,
  openaiVideos,
  openaiStoredVideos,
].map(({ forHeader: _others, ...wire }: Wire) => ({
  ...wire,
  family: 'azure',
  otherFamily: 'openai',
  endpoints: wire.endpoints.flatMap(endpointsOf),
}));

function endpointsOf({ method, path }: WireEndpoint): WireEndpoint[] {
  const younger: WireEndpoint = { method, path: `/openai${path}` };
  if (WITHOUT_DEPLOYMENT.some((one) => path.startsWith(one))) return [younger];
  return [younger, { method, path: `/openai/deployments/{model}/${path.slice(OPENAI.length)}` }];
}
