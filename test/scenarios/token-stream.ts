import { setTimeout as pause } from 'node:timers/promises';
import { type Stub, startStub } from '../gateway/harness.ts';

/** Tokens of a word each, one chunk a token, as OpenAI sends them: until as many have gone as were asked for. */
export interface TokenUpstream extends Stub {
  /** Streams that have begun and those that were read to their end, by the number in their message. */
  readonly begun: Set<number>;
  readonly ended: Set<number>;
}

const TOKEN = ' token';
const PROMPT_TOKENS = 10;
const NUMBER = /call number (\d+)/;

export async function startTokenUpstream(options: { tokensPerSecond: number }): Promise<TokenUpstream> {
  const begun = new Set<number>();
  const ended = new Set<number>();
  const stub = await startStub(async (response, { body }) => {
    const asked = JSON.parse(body) as { max_tokens?: number; max_completion_tokens?: number };
    const max = asked.max_tokens ?? asked.max_completion_tokens ?? 16_384;
    const number = Number(NUMBER.exec(body)?.[1] ?? -1);
    begun.add(number);
    response.setHeader('content-type', 'text/event-stream');
    const startMs = performance.now();
    for (let sent = 0; sent < max && !response.destroyed; ) {
      const due = Math.ceil(((performance.now() - startMs) / 1000) * options.tokensPerSecond);
      for (; sent < Math.min(due, max); sent++)
        response.write(chunkOf({ choices: [{ index: 0, delta: { content: TOKEN } }] }));
      await pause(2);
    }
    if (response.destroyed) return;
    const usage = { prompt_tokens: PROMPT_TOKENS, completion_tokens: max, total_tokens: PROMPT_TOKENS + max };
    response.end(`${chunkOf({ choices: [], usage })}data: [DONE]\n\n`);
    ended.add(number);
  });
  return Object.assign(stub, { begun, ended });
}

function chunkOf(fields: object): string {
  return `data: ${JSON.stringify({ model: 'gpt-4o', ...fields })}\n\n`;
}

/** One streamed call, read to its end. The text that came, and how it ended. */
export async function streamOnce(options: {
  gatewayUrl: string;
  secret: string;
  number: number;
  maxTokens: number;
}): Promise<{ tokens: number; end: 'whole' | 'cut' | 'refused' | 'broken' }> {
  let text = '';
  try {
    const response = await fetch(`${options.gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${options.secret}`,
        'content-type': 'application/json',
        'x-weir-labels': `number=${options.number}`,
      },
      body: JSON.stringify({
        model: 'gpt-4o',
        stream: true,
        max_tokens: options.maxTokens,
        messages: [{ role: 'user', content: `call number ${options.number}` }],
      }),
    });
    if (response.status !== 200 || !response.body)
      return { tokens: 0, end: response.status === 429 ? 'refused' : 'broken' };
    const decoder = new TextDecoder();
    for await (const chunk of response.body) text += decoder.decode(chunk, { stream: true });
  } catch {
    // What a gateway that is killed looks like.
    return { tokens: text.split(TOKEN).length - 1, end: 'broken' };
  }
  const end = text.includes('[DONE]') ? 'whole' : text.includes('budget_exhausted') ? 'cut' : 'broken';
  return { tokens: text.split(TOKEN).length - 1, end };
}
