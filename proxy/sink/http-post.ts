import { Agent, request } from 'undici';
import type { JournalEntry } from './journal/journal.ts';

export interface HttpPost {
  post: (batch: readonly JournalEntry[], signal: AbortSignal) => Promise<void>;
  close(): Promise<void>;
}

const TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;
const STORY_CHARS = 300;

/**
 * Posts batches of events to a billing role. A 2xx answer means that billing has committed the batch; rows that it
 * refused are parked and shown there, and are not our business any more. Everything else is a failure of the batch.
 */
export function httpPost({ url, token }: { url: string; token: string }): HttpPost {
  const agent = new Agent({ connections: 1, connect: { timeout: CONNECT_TIMEOUT_MS } });
  const address = `${url.replace(/\/+$/, '')}/v1/events`;
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/cloudevents-batch+json' };
  return {
    async post(batch, signal) {
      const events = batch.filter((entry) => entry.event !== '').map((entry) => entry.event);
      if (events.length === 0) return;
      const answer = await request(address, {
        method: 'POST',
        headers,
        // The events are JSON already.
        body: `[${events.join(',')}]`,
        dispatcher: agent,
        signal,
        headersTimeout: TIMEOUT_MS,
        bodyTimeout: TIMEOUT_MS,
      });
      if (answer.statusCode >= 200 && answer.statusCode < 300) {
        await answer.body.dump();
        return;
      }
      const text = await answer.body.text();
      throw new Error(`billing answered ${answer.statusCode}: ${text.slice(0, STORY_CHARS)}`);
    },
    close: () => agent.destroy(),
  };
}
