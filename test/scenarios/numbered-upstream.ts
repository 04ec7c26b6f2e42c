import { LLMock } from '@copilotkit/aimock';

/**
 * aimock as the upstream and as the independent meter: calls carry a number in their message, the usage that it serves
 * is a function of the number, and its journal says which numbers it served.
 */
export interface NumberedUpstream {
  /** With the version segment. */
  url: string;
  /** Numbers of the calls that were answered, with the usage that the answer carried. A number served twice stands twice. */
  served(): { number: number; promptTokens: number; completionTokens: number }[];
  stop(): Promise<void>;
}

const NUMBER = /call number (\d+)/;

/** A function of the number, and of the most that the call may answer, which a provider keeps. */
export function usageOf(number: number, max: number): { promptTokens: number; completionTokens: number } {
  return { promptTokens: 40 + (number % 7), completionTokens: Math.min(max, 80 + (number % 11)) };
}

function maxIn(body: unknown): number {
  const { max_tokens: max } = body as { max_tokens?: number };
  return max ?? Number.POSITIVE_INFINITY;
}

export function messageOf(number: number): { role: 'user'; content: string } {
  return { role: 'user', content: `call number ${number}` };
}

export async function startNumberedUpstream(options: { latencyMs?: number } = {}): Promise<NumberedUpstream> {
  const mock = new LLMock({ port: 0, logLevel: 'silent', journalMaxEntries: 0, latency: options.latencyMs ?? 0 });
  mock.on({}, (request) => {
    const usage = usageOf(numberIn(request), maxIn(request));
    return {
      content: 'An answer of some words, so that a stream has a few chunks to break off between.',
      usage: {
        prompt_tokens: usage.promptTokens,
        completion_tokens: usage.completionTokens,
        total_tokens: usage.promptTokens + usage.completionTokens,
      },
    };
  });
  const url = await mock.start();
  return {
    url: `${url}/v1`,
    served: () =>
      mock
        .getRequests()
        .filter((entry) => entry.path.endsWith('/chat/completions') && entry.response.status === 200)
        .map((entry) => {
          const number = numberIn(entry.body);
          return { number, ...usageOf(number, maxIn(entry.body)) };
        }),
    stop: () => mock.stop(),
  };
}

function numberIn(body: unknown): number {
  const match = NUMBER.exec(JSON.stringify(body));
  if (!match) throw new Error('a call without a number reached the upstream');
  return Number.parseInt(match[1] as string, 10);
}
