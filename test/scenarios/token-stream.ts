import { setTimeout as pause } from 'node:timers/promises';
import { FAULTS } from '#core/fault.ts';
import { type Stub, startStub } from '../gateway/harness.ts';
import { CHAT, TOKEN, type TokenWire } from './token-wires.ts';

/** Tokens of a word each, one event a token: until as many have gone as were asked for. */
export interface TokenUpstream extends Stub {
  /** Streams that have begun and those that were read to their end, by the number in their message. */
  readonly begun: Set<number>;
  readonly ended: Set<number>;
}

const NUMBER = /call number (\d+)/;
/** Under whichever name a wire has it. */
const MAXIMUM = /"(?:max_tokens|max_completion_tokens|max_output_tokens|maxOutputTokens|maxTokens|num_predict)":(\d+)/;
const MAXIMUM_INITIAL = 16_384;

export async function startTokenUpstream(options: {
  tokensPerSecond: number;
  wire?: TokenWire;
}): Promise<TokenUpstream> {
  const { tokensPerSecond, wire = CHAT } = options;
  const begun = new Set<number>();
  const ended = new Set<number>();
  const stub = await startStub(async (response, { body }) => {
    const max = Number(MAXIMUM.exec(body)?.[1] ?? MAXIMUM_INITIAL);
    const number = Number(NUMBER.exec(body)?.[1] ?? -1);
    begun.add(number);
    response.setHeader('content-type', wire.contentType);
    response.write(wire.begin);
    const startMs = performance.now();
    for (let sent = 0; sent < max && !response.destroyed; ) {
      const due = Math.ceil(((performance.now() - startMs) / 1000) * tokensPerSecond);
      while (sent < Math.min(due, max)) response.write(wire.token(++sent));
      await pause(2);
    }
    if (response.destroyed) return;
    response.end(wire.end(max));
    ended.add(number);
  });
  return Object.assign(stub, { begun, ended });
}

/** One streamed call, read to its end. The text that came, and how it ended. */
export async function streamOnce(options: {
  gatewayUrl: string;
  secret: string;
  number: number;
  maxTokens: number;
  wire?: TokenWire;
}): Promise<{ tokens: number; end: 'whole' | 'cut' | 'refused' | 'broken' }> {
  const { gatewayUrl, secret, number, maxTokens, wire = CHAT } = options;
  let text = '';
  try {
    const response = await fetch(`${gatewayUrl}${wire.path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${secret}`,
        'content-type': 'application/json',
        'x-weir-labels': `number=${number}`,
      },
      body: JSON.stringify(wire.request(`call number ${number}`, maxTokens)),
    });
    if (response.status !== 200 || !response.body)
      return { tokens: 0, end: REFUSED.has(response.status) ? 'refused' : 'broken' };
    const decoder = new TextDecoder();
    for await (const chunk of response.body) text += decoder.decode(chunk, { stream: true });
  } catch {
    // What a gateway that is killed looks like.
    return { tokens: text.split(TOKEN).length - 1, end: 'broken' };
  }
  const end = text.includes(FAULTS.budget_exhausted.text) ? 'cut' : text.includes(wire.whole) ? 'whole' : 'broken';
  return { tokens: text.split(TOKEN).length - 1, end };
}

/** An exhausted budget, in the dialects that there are. */
const REFUSED: ReadonlySet<number> = new Set([400, 402, 429]);
