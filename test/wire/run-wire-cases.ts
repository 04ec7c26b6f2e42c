import { request } from 'node:http';
import { FAMILIES, WIRE_FAMILIES, type WireFamily } from '#config/wires.ts';
import type { UsageEvent } from '#core/usage-event.ts';
import { type RunningGateway, startGateway } from '#test/support/running-gateway.ts';
import { seededRandom } from '../support/random.ts';
import { compareUsage, withoutUsage } from './expectation.ts';
import { FORMATS, type Format } from './formats.ts';
import { cutsOf, PLAYBACK_HEADER, Playback } from './playback.ts';
import { type Fixture, type Recording, readManifest, readRecording, readSocketRecording } from './recording.ts';
import { lengthOf, replaySocket, SOCKET_FORMATS } from './run-socket-cases.ts';

/**
 * Recorded provider traffic through a running gateway: the client must get the recorded bytes and the event must hold
 * the expected usage, however the bytes are cut on their way.
 */
export interface Result {
  id: string;
  outcome: 'pass' | 'fail' | 'unsupported';
  text: string;
}

export async function runWireCases(
  manifest: string,
  options: { seed: number; onResult?: (result: Result) => void },
): Promise<Result[]> {
  const { folder, fixtures } = readManifest(manifest);
  const random = seededRandom(options.seed);
  const playback = await Playback.start();
  const gateway = await startGateway({ upstreamUrl: addressesAt(playback.origin), models: ['*'] });
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

/** One host that speaks everything. */
function addressesAt(origin: string): Partial<Record<WireFamily, string>> {
  return Object.fromEntries(
    WIRE_FAMILIES.map((family) => {
      const { prefix } = FAMILIES[family];
      return [family, `${origin}${typeof prefix === 'string' ? prefix : ''}`];
    }),
  );
}

/** How many play at once: most of a call is waiting for the other side. */
const PLAYERS = 24;

interface Stage {
  playback: Playback;
  gateway: RunningGateway;
  random: () => number;
}

async function runSocketFixture(folder: string, fixture: Fixture, stage: Stage): Promise<Result> {
  const id = fixture.file;
  try {
    const recording = readSocketRecording(folder, fixture);
    const path = SOCKET_FORMATS[fixture.format]?.(recording) ?? '';
    for (const cuts of cutsOf(lengthOf(recording), stage.random)) {
      const wrong = await replaySocket(path, fixture, recording, cuts, stage);
      if (wrong) return { id, outcome: 'fail', text: `${wrong} (${describeCuts(cuts)})` };
    }
    return { id, outcome: 'pass', text: '' };
  } catch (error) {
    return { id, outcome: 'fail', text: String(error) };
  }
}

async function runFixture(folder: string, fixture: Fixture, stage: Stage): Promise<Result> {
  const id = fixture.file;
  if (SOCKET_FORMATS[fixture.format]) return runSocketFixture(folder, fixture, stage);
  const format = FORMATS[fixture.format];
  if (!format) return { id, outcome: 'unsupported', text: `no wire file for ${fixture.format} yet` };
  try {
    const recording = readRecording(folder, fixture, format);
    const path = recording.path?.startsWith('/model/') ? recording.path : format.path(modelOf(recording));
    for (const asking of await askingsOf(recording, format)) {
      const left = cutsOf(recording.body.length, stage.random);
      let unmet: Omit<Result, 'id'> | undefined;
      const player = async () => {
        for (let cuts = left.shift(); cuts && !unmet; cuts = left.shift()) {
          const found = await replay(path, fixture, recording, asking, cuts, stage);
          if (found) unmet ??= { ...found, text: `${found.text} (${asking.name}, ${describeCuts(cuts)})` };
        }
      };
      await Promise.all(Array.from({ length: PLAYERS }, player));
      if (unmet) return { id, ...unmet };
    }
    return { id, outcome: 'pass', text: '' };
  } catch (error) {
    return { id, outcome: 'fail', text: String(error) };
  }
}

/** A way to ask for the recording, and what the client must then get. */
interface Asking {
  name: string;
  contentType: string;
  body: Buffer;
  answer: Buffer;
}

/** As it was recorded; a stream besides by a client that does, and one that does not, want its usage. */
async function askingsOf(recording: Recording, format: Format): Promise<Asking[]> {
  const isStream = recording.contentType.startsWith('text/event-stream');
  const { body, contentType } = await requestOf(recording, format, isStream);
  if (!isStream || !format.asksForUsage) {
    return [{ name: 'as recorded', contentType, body, answer: recording.body }];
  }
  const { stream_options: _, ...plain } = JSON.parse(body.toString()) as Record<string, unknown>;
  const hidden = Buffer.from(withoutUsage(recording.body.toString()));
  return [
    {
      name: 'usage wanted',
      contentType,
      body: encode({ ...plain, stream_options: { include_usage: true } }),
      answer: recording.body,
    },
    { name: 'usage not wanted', contentType, body: encode(plain), answer: hidden },
  ];
}

async function requestOf(recording: Recording, format: Format, isStream: boolean) {
  const made = recording.request ?? format.request(modelOf(recording), isStream);
  if (!(made instanceof FormData)) {
    return { contentType: 'application/json', body: Buffer.isBuffer(made) ? made : encode(made) };
  }
  const form = new Response(made);
  return { contentType: form.headers.get('content-type') ?? '', body: Buffer.from(await form.arrayBuffer()) };
}

/** As the answer names it, wherever its format does. */
function modelOf(recording: Recording): string {
  return /"model(?:Version)?": ?"([^"]+)"/.exec(recording.body.toString())?.[1] ?? 'recorded';
}

async function replay(
  path: string,
  fixture: Fixture,
  recording: Recording,
  asking: Asking,
  cuts: readonly number[],
  { playback, gateway }: Stage,
): Promise<Omit<Result, 'id'> | undefined> {
  const played = playback.play(recording, cuts);
  const answer = await ask(`${gateway.origin}${path}`, gateway.secret, asking, played.id);
  playback.forget(played);
  if (answer.status !== recording.status) return failed(`status: got ${answer.status}, wanted ${recording.status}`);
  if (!answer.body.equals(asking.answer)) return failed(differenceOf(answer.body, asking.answer));
  const unsent = requestDifference(played.received, asking);
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

function ask(url: string, secret: string, { body, contentType }: Asking, played: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${secret}`,
      'content-type': contentType,
      'content-length': body.length,
      [PLAYBACK_HEADER]: played,
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
function requestDifference(got: Buffer, { body: sent, contentType }: Asking): string | undefined {
  const wanted = contentType === 'application/json' ? JSON.parse(sent.toString()) : {};
  if (!wanted.stream || got.equals(sent) || wanted.stream_options?.include_usage === true) {
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
