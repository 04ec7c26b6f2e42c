import { request } from 'node:http';
import type { UsageEvent } from '#core/usage-event.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';
import { compareUsage, withoutUsage } from './expectation.ts';
import { cutsOf, Playback, seededRandom } from './playback.ts';
import { type Fixture, type Recording, readManifest, readRecording } from './recording.ts';

/**
 * Recorded provider traffic through a running gateway: the client must get the recorded bytes and the event must hold
 * the expected usage, however the bytes are cut on their way.
 */
export interface Result {
  id: string;
  outcome: 'pass' | 'fail' | 'unsupported';
  text: string;
}

/** Where a format is asked for. Azure, Mistral and xAI serve the format of OpenAI's chat at such a path too. */
const PATHS: Readonly<Record<string, string>> = {
  'openai.chat': '/chat/completions',
  'openai.embeddings': '/embeddings',
  'azure.chat': '/chat/completions',
  'mistral.chat': '/chat/completions',
  'xai.chat': '/chat/completions',
};

export async function runWireCases(
  manifest: string,
  options: { seed: number; onResult?: (result: Result) => void },
): Promise<Result[]> {
  const { folder, fixtures } = readManifest(manifest);
  const random = seededRandom(options.seed);
  const playback = await Playback.start();
  const gateway = await startGateway({ upstreamUrl: playback.url, models: ['*'] });
  const results: Result[] = [];
  try {
    for (const fixture of fixtures) {
      const result = await runFixture(folder, fixture, { playback, gateway, random });
      results.push(result);
      options.onResult?.(result);
    }
  } finally {
    await gateway.stop();
    await playback.stop();
  }
  return results;
}

interface Stage {
  playback: Playback;
  gateway: RunningGateway;
  random: () => number;
}

async function runFixture(folder: string, fixture: Fixture, stage: Stage): Promise<Result> {
  const id = fixture.file;
  const path = PATHS[fixture.format];
  if (path === undefined) return { id, outcome: 'unsupported', text: `no wire file for ${fixture.format} yet` };
  try {
    const recording = readRecording(folder, fixture);
    for (const asking of askingsOf(recording)) {
      for (const cuts of cutsOf(recording.body.length, stage.random)) {
        const unmet = await replay(path, fixture, recording, asking, cuts, stage);
        if (unmet) return { id, ...unmet, text: `${unmet.text} (${asking.name}, ${describeCuts(cuts)})` };
      }
    }
    return { id, outcome: 'pass', text: '' };
  } catch (error) {
    return { id, outcome: 'fail', text: String(error) };
  }
}

/** A way to ask for the recording, and what the client must then get. */
interface Asking {
  name: string;
  body: Buffer;
  answer: Buffer;
}

/** As it was recorded; a stream besides by a client that does, and one that does not, want its usage. */
function askingsOf(recording: Recording): Asking[] {
  const asked: Record<string, unknown> = recording.request
    ? JSON.parse(recording.request.toString())
    : requestFor(recording);
  const recorded = { name: 'as recorded', body: recording.request ?? encode(asked), answer: recording.body };
  if (!recording.contentType.startsWith('text/event-stream')) return [recorded];
  const { stream_options: _, ...plain } = asked;
  const hidden = Buffer.from(withoutUsage(recording.body.toString()));
  return [
    {
      name: 'usage wanted',
      body: encode({ ...plain, stream_options: { include_usage: true } }),
      answer: recording.body,
    },
    { name: 'usage not wanted', body: encode(plain), answer: hidden },
  ];
}

/** For recordings of the answer alone. */
function requestFor(recording: Recording): Record<string, unknown> {
  const first = /^(?:data: )?(\{.*\})$/m.exec(recording.body.toString())?.[1] ?? '{}';
  const { model } = JSON.parse(first) as { model?: string };
  const stream = recording.contentType.startsWith('text/event-stream');
  return { model: model ?? 'recorded', messages: [{ role: 'user', content: 'Hello' }], stream };
}

async function replay(
  path: string,
  fixture: Fixture,
  recording: Recording,
  asking: Asking,
  cuts: readonly number[],
  { playback, gateway }: Stage,
): Promise<Omit<Result, 'id'> | undefined> {
  playback.answerWith(recording, cuts);
  const answer = await ask(`${gateway.url}${path}`, gateway.secret, asking.body);
  if (answer.status !== recording.status) return failed(`status: got ${answer.status}, wanted ${recording.status}`);
  if (!answer.body.equals(asking.answer)) return failed(differenceOf(answer.body, asking.answer));
  const unsent = requestDifference(playback.received, asking.body);
  if (unsent) return failed(unsent);

  // The answer can be whole before the event is: its id is known from the answer's head.
  const event = await eventOf(gateway, answer.requestId);
  const comparison = compareUsage(fixture.expected_usage, recording.status, event.data);
  if ('unsupported' in comparison) return { outcome: 'unsupported', text: comparison.unsupported };
  if (comparison.wrong.length > 0) return failed(comparison.wrong.join('; '));
  return gateway.twice.length > 0 ? failed(`got a second event for ${gateway.twice[0]}, wanted one`) : undefined;
}

function failed(text: string): Omit<Result, 'id'> {
  return { outcome: 'fail', text };
}

interface Answer {
  status: number;
  requestId: string;
  body: Buffer;
}

function ask(url: string, secret: string, body: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${secret}`,
      'content-type': 'application/json',
      'content-length': body.length,
    };
    const outgoing = request(url, { method: 'POST', headers }, async (response) => {
      const parts: Buffer[] = [];
      try {
        for await (const part of response) parts.push(part);
        const requestId = String(response.headers['x-request-id']);
        resolve({ status: response.statusCode ?? 0, requestId, body: Buffer.concat(parts) });
      } catch (error) {
        reject(error);
      }
    });
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

const EVENT_TIMEOUT_MS = 5_000;

async function eventOf(gateway: RunningGateway, id: string): Promise<UsageEvent> {
  const until = Date.now() + EVENT_TIMEOUT_MS;
  for (;;) {
    const event = gateway.events.get(id);
    if (event) return event;
    if (Date.now() > until) throw new Error(`got no event for ${id}, wanted one`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Upstream gets what the client sent, but for the usage that is asked of every stream. */
function requestDifference(got: Buffer, sent: Buffer): string | undefined {
  const wanted = JSON.parse(sent.toString());
  if (!wanted.stream || wanted.stream_options?.include_usage === true) {
    return got.equals(sent) ? undefined : `request upstream: ${differenceOf(got, sent)}`;
  }
  const expected = { ...wanted, stream_options: { ...wanted.stream_options, include_usage: true } };
  return JSON.stringify(JSON.parse(got.toString())) === JSON.stringify(expected)
    ? undefined
    : `request upstream: got ${got.toString().slice(0, 200)}, wanted usage asked for and nothing else changed`;
}

function differenceOf(got: Buffer, wanted: Buffer): string {
  let at = 0;
  while (at < got.length && at < wanted.length && got[at] === wanted[at]) at++;
  const around = (bytes: Buffer) => JSON.stringify(bytes.subarray(Math.max(0, at - 20), at + 40).toString());
  return `bytes from ${at} on: got ${around(got)} (of ${got.length}), wanted ${around(wanted)} (of ${wanted.length})`;
}

function describeCuts(cuts: readonly number[]): string {
  if (cuts.length === 0) return 'in one piece';
  return cuts.length > 8 ? `in ${cuts.length + 1} pieces` : `cut at ${cuts.join(', ')}`;
}

function encode(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
