import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runWireCases } from './run-wire-cases.ts';

/** Recorded provider traffic, where it is at hand. */
const MANIFEST = fileURLToPath(new URL('../../../shared/data/wire/manifest.json', import.meta.url));

const COVERED = [
  'anthropic-advisor.chunks.txt',
  'anthropic-code-execution-prompt-cache.chunks.txt',
  'anthropic-duplicate-message-start.chunks.txt',
  'anthropic-text.chunks.txt',
  'anthropic-web-search.chunks.txt',
  'azure-chat-basic.vcr.yaml',
  'bedrock-converse-cache.vcr.yaml',
  'bedrock-converse-stream.vcr.yaml',
  'cohere-chat-v2.chunks.txt',
  'gemini-429-retry-info.json',
  'gemini-text.chunks.txt',
  'gemini-thinking.chunks.txt',
  'mistral-text.chunks.txt',
  'openai-chat-404-unknown-model.vcr.yaml',
  'openai-chat-basic.vcr.yaml',
  'openai-chat-stream-include-usage.vcr.yaml',
  'openai-chat-stream-no-usage.vcr.yaml',
  'openai-chat-web-search.vcr.yaml',
  'openai-completion-stream-usage.vcr.yaml',
  'openai-embeddings-token-input.vcr.yaml',
  'openai-responses-background.vcr.yaml',
  'openai-responses-web-search.chunks.txt',
  'openai-transcription.vcr.yaml',
  'xai-chat.chunks.txt',
];

describe.skipIf(!existsSync(MANIFEST))('recorded provider traffic', () => {
  it('reaches the client untouched and is metered as the provider counted, at every cut', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const results = await runWireCases(MANIFEST, { seed });
    const failures = results.filter(({ outcome }) => outcome === 'fail');
    expect(failures, `seed ${seed}`).toEqual([]);
    const passed = results.filter(({ outcome }) => outcome === 'pass').map(({ id }) => id);
    expect(passed).toEqual(expect.arrayContaining(COVERED));
  }, 300_000);
});
