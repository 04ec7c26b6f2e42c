import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { LoadOptions, LoadResult } from './load.ts';
import { cpuSeconds, peakMegabytes, runProgram } from './processes.ts';
import type { Subject } from './subjects.ts';

/** About a kilobyte in; the upstream gives about a kilobyte out. */
const PROMPT = 'How much water flows over a weir, and how would you measure it? '.repeat(13);
const OUTPUT_TOKENS_MAX = 256;

export function requestBody(options: { stream?: boolean; holdSeconds?: number } = {}): string {
  return JSON.stringify({
    model: 'bench-1',
    messages: [
      { role: 'system', content: 'Answer in one paragraph.' },
      { role: 'user', content: options.holdSeconds === undefined ? PROMPT : `hold:${options.holdSeconds}` },
    ],
    max_completion_tokens: OUTPUT_TOKENS_MAX,
    temperature: 0.2,
    ...(options.stream && { stream: true }),
  });
}

/** The answer of one call: a subject that does not answer rightly is not measured. */
export async function checkAnswers(subject: Subject): Promise<void> {
  const response = await fetch(subject.url, { method: 'POST', headers: subject.headers, body: requestBody() });
  const text = await response.text();
  if (response.status !== 200 || !text.includes('"total_tokens":300')) {
    throw new Error(`${subject.name} answers ${response.status}: ${text.slice(0, 400)}\n${subject.process.output()}`);
  }
  const streamed = await fetch(subject.url, {
    method: 'POST',
    headers: subject.headers,
    body: requestBody({ stream: true }),
  });
  const events = await streamed.text();
  if (streamed.status !== 200 || !events.includes('data: [DONE]')) {
    throw new Error(`${subject.name} streams ${streamed.status}: ${events.slice(-400)}\n${subject.process.output()}`);
  }
}

export interface Throughput {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  failed: number;
  /** Processor time of the subject for each request. */
  cpuMicros: number;
}

const WRK = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'wrk'))
  .find(existsSync);

export function loadProgram(): string {
  return WRK ? 'wrk' : 'a generator of our own on undici (wrk is not installed)';
}

export interface Load {
  connections: number;
  seconds: number;
  body: string;
}

/** As much as goes through, over so many connections that each wait for the whole of their answer. */
export async function measureThroughput(subject: Subject, load: Load): Promise<Throughput> {
  const { connections: amount, seconds, body } = load;
  const { url, headers } = subject;
  const cpu = cpuSeconds(subject.process.pid);
  const found = WRK
    ? await runWrk(WRK, subject, load)
    : await runLoad({ mode: 'closed', url, headers, body, amount, seconds });
  const used = cpuSeconds(subject.process.pid) - cpu;
  return { ...found, cpuMicros: (used / (found.perSecond * seconds)) * 1e6 };
}

async function runWrk(wrk: string, subject: Subject, { connections, seconds, body }: Load) {
  const folder = mkdtempSync(join(tmpdir(), 'weir-bench-wrk-'));
  const script = join(folder, 'request.lua');
  const headers = Object.entries(subject.headers).map(
    ([name, value]) => `wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`,
  );
  writeFileSync(
    script,
    `wrk.method = "POST"
wrk.body = [==[${body}]==]
${headers.join('\n')}
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"perSecond":%f,"p50Ms":%f,"p99Ms":%f,"failed":%d}\\n',
    summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
`,
  );
  try {
    const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '20s', '-s', script, subject.url];
    const result = /RESULT (.*)/.exec(await runProgram(wrk, args))?.[1];
    return JSON.parse(result ?? '') as Omit<Throughput, 'cpuMicros'>;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const printed = await runProgram(process.execPath, [join(import.meta.dirname, 'load.ts'), JSON.stringify(options)]);
  return JSON.parse(printed) as LoadResult;
}

/** Peak memory of the subject with so many streams open at once, and how many of them failed. */
export async function measureOpenStreams(
  subject: Subject,
  streams: number,
): Promise<{ megabytes: number; failed: number }> {
  const holdSeconds = 60;
  const options: LoadOptions = {
    mode: 'hold',
    url: subject.url,
    headers: subject.headers,
    body: requestBody({ stream: true, holdSeconds }),
    amount: streams,
    seconds: holdSeconds,
  };
  const child = spawn(process.execPath, [join(import.meta.dirname, 'load.ts'), JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const result = await new Promise<LoadResult>((resolve, reject) => {
    child.stdout.once('data', (data: Buffer) => resolve(JSON.parse(data.toString()) as LoadResult));
    child.once('exit', (code) => reject(new Error(`the load ended with ${code}`)));
  });
  const megabytes = peakMegabytes(subject.process.pid);
  child.removeAllListeners('exit');
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
  return { megabytes, failed: result.failed };
}
