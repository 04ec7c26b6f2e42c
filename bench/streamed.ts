/**
 * What a streamed call costs the gateway in processor time, and how much of that the scanner takes: `node
 * bench/streamed.ts [SECONDS]`. The gateway is this process; load and upstream (20 chunks of a chat, 5 ms apart) are others.
 * The scanner is measured by itself, over the very chunks that came.
 */
import { request } from 'node:http';
import { join } from 'node:path';
import { openaiChat } from '#proxy/wire/openai-chat.ts';
import { startGateway } from '#test/support/running-gateway.ts';
import type { LoadOptions, LoadResult } from './load.ts';
import { freePort, runProgram, startServer } from './processes.ts';

const [seconds = '10'] = process.argv.slice(2);
const STREAMS_AT_ONCE = 50;
const WARM_SECONDS = 3;
const SCANS = 20_000;

const ASKED = { model: 'bench-1', stream: true, messages: [{ role: 'user', content: 'What is a weir?' }] };
const BODY = JSON.stringify(ASKED);

const port = await freePort();
const upstream = await startServer(process.execPath, [join(import.meta.dirname, 'upstream.ts'), String(port)], {
  port,
});
const gateway = await startGateway({
  upstreamUrl: `http://127.0.0.1:${port}/v1`,
  models: ['*'],
  prices:
    '[{ provider: openai, model: "*", prices: [{ unit: input_tokens, amount: 1, per: 1M }, { unit: output_tokens, amount: 5, per: 1M }] }]',
  limits: '[{ requests: 1000000, per: minute }, { concurrency: 10000 }, { budget: 100000 USD, per: month }]',
});
try {
  await load(WARM_SECONDS);
  const before = process.cpuUsage();
  const { requests, failed } = await load(Number(seconds));
  const { user, system } = process.cpuUsage(before);
  const callMicros = (user + system) / requests;
  const chunks = await chunksOf(`http://127.0.0.1:${port}/v1/chat/completions`);
  scan(chunks);
  const scanMicros = scan(chunks);
  console.log(`${requests} streamed calls of ${chunks.length} chunks, ${failed} failed`);
  console.log(`${callMicros.toFixed(0)} µs of CPU a call, of which the scanner ${scanMicros.toFixed(1)} µs`);
  console.log(`${((100 * scanMicros) / callMicros).toFixed(1)} %`);
} finally {
  await gateway.stop();
  await upstream.stop();
}

async function load(forSeconds: number): Promise<LoadResult> {
  const options: LoadOptions = {
    mode: 'closed',
    url: `${gateway.url}/chat/completions`,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${gateway.secret}` },
    body: BODY,
    amount: STREAMS_AT_ONCE,
    seconds: forSeconds,
  };
  const printed = await runProgram(process.execPath, [join(import.meta.dirname, 'load.ts'), JSON.stringify(options)]);
  return JSON.parse(printed) as LoadResult;
}

/** As they come from the upstream, with the usage that we ask for. */
function chunksOf(url: string): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST' }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(chunks));
    });
    outgoing.on('error', reject);
    outgoing.end(JSON.stringify({ ...ASKED, stream_options: { include_usage: true } }));
  });
}

/** Microseconds of one stream, the hiding of its usage included. */
function scan(chunks: readonly Buffer[]): number {
  const asked = openaiChat.parse(Buffer.from(BODY));
  const answer = { status: 200, headers: { 'content-type': 'text/event-stream' }, hideUsage: true };
  const before = process.cpuUsage();
  for (let n = 0; n < SCANS; n++) {
    const meter = openaiChat.meter(asked, answer);
    for (const chunk of chunks) meter.push(chunk);
    meter.end();
    meter.read();
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / SCANS;
}
