import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { UsageEvent } from '#core/usage-event.ts';
import type { RunningGateway } from '#test/support/running-gateway.ts';
import { compareUsage } from './expectation.ts';
import { PLAYBACK_HEADER, type Playback, playSide } from './playback.ts';
import type { Fixture, SocketRecording } from './recording.ts';

/** Where recorded sockets are opened. */
export const SOCKET_FORMATS: Readonly<Record<string, (recording: SocketRecording) => string>> = {
  'openai.realtime': (recording) => `/v1/realtime?model=${modelOf(recording)}`,
};

function modelOf({ messages }: SocketRecording): string {
  const text = messages.map(({ bytes }) => bytes.toString()).join('');
  return /"model":"([^"]+)"/.exec(text)?.[1] ?? 'recorded';
}

/** All that is said on it, both ways: what is cut. */
export function lengthOf({ messages }: SocketRecording): number {
  return messages.reduce((sum, { bytes }) => sum + bytes.length, 0);
}

/** What is wrong, or undefined: both sides must hear what the other said, and each response must be one event. */
export async function replaySocket(
  path: string,
  fixture: Fixture,
  recording: SocketRecording,
  cuts: readonly number[],
  { playback, gateway }: { playback: Playback; gateway: RunningGateway },
): Promise<string | undefined> {
  const talked = playback.talk(recording, cuts);
  const { origin, secret } = gateway;
  const socket = new WebSocket(`${origin.replace('http', 'ws')}${path}`, {
    headers: { authorization: `Bearer ${secret}`, [PLAYBACK_HEADER]: talked.id },
  });
  let session = '';
  socket.once('upgrade', ({ headers }) => {
    session = String(headers['x-request-id']);
  });
  const heard: Buffer[] = [];
  socket.once('open', () => playSide(socket, recording, 'sent', cuts, heard));
  const closed = once(socket, 'close');
  const said = recording.messages.filter(({ direction }) => direction === 'received').map(({ bytes }) => bytes);
  await until(() => heard.length >= said.length, `${said.length} messages`);
  const events = await until(() => {
    const found = [...gateway.events.values()].filter(({ data }) => data.session === session);
    return found.length > 0 && found;
  }, 'an event');
  socket.close();
  await closed;
  playback.forget(talked);
  const asked = recording.messages.filter(({ direction }) => direction === 'sent').map(({ bytes }) => bytes);
  if (!Buffer.concat(heard).equals(Buffer.concat(said))) return 'the client heard something else than was said';
  if (!Buffer.concat(talked.received).equals(Buffer.concat(asked))) return 'the upstream heard something else';
  const [event, ...others] = events as [UsageEvent, ...UsageEvent[]];
  if (others.length > 0) return `got ${events.length} events, wanted one`;
  const comparison = compareUsage(fixture.expected_usage, 200, event.data);
  return 'unsupported' in comparison ? comparison.unsupported : comparison.wrong.join('; ') || undefined;
}

const TIMEOUT_MS = 5_000;

async function until<T>(look: () => T | false | undefined, what: string): Promise<T> {
  const end = Date.now() + TIMEOUT_MS;
  for (;;) {
    const found = look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`got no ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
