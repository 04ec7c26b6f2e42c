import { messageOf } from './numbered-upstream.ts';

/** How a numbered call ended for the caller. */
export type CallEnd = 'answered' | 'refused' | 'failed';

export interface CallOptions {
  gatewayUrl: string;
  secret: string;
  number: number;
  stream?: boolean;
  maxTokens?: number;
}

/**
 * One call with its number in the message and in its labels, read to the end. `failed`: no answer or a broken one, as
 * when the gateway is killed.
 */
export async function callOnce(options: CallOptions): Promise<{ end: CallEnd; code: string | null }> {
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
        stream: options.stream ?? false,
        max_tokens: options.maxTokens ?? 100,
        messages: [messageOf(options.number)],
      }),
    });
    const text = await response.text();
    if (response.status === 200) return { end: 'answered', code: null };
    return { end: response.status === 429 ? 'refused' : 'failed', code: codeOf(text) };
  } catch {
    // The connection was refused or broke: that is what a killed gateway looks like, and what the scenario is about.
    return { end: 'failed', code: null };
  }
}

function codeOf(body: string): string | null {
  const parsed = JSON.parse(body) as { error?: { code?: string } };
  return parsed.error?.code ?? null;
}
