/**
 * Weir beside its peers, on this machine, in one run: `npm run bench`, or `npm run bench -- --quick` for a short look.
 *
 * All stand before the same upstream and get the same load, in turns and several times over, so that what the machine
 * does meanwhile falls on all of them; each figure is the median of its rounds. How much goes through is measured in short
 * turns, and compared turn by turn: a machine that is shared may be half as fast a minute later. Nothing is written.
 *
 *   --quick             one short round
 *   --rounds N          how often each takes its turn (5)
 *   --only a,b          some of direct, pass-through, nginx, weir, weir-redis, portkey
 */
import { cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import {
  checkAnswers,
  loadProgram,
  measureOpenStreams,
  measureThroughput,
  requestBody,
  runLoad,
  type Throughput,
} from './measure.ts';
import { peakMegabytes } from './processes.ts';
import { SUBJECTS, type Subject, type SubjectName, startSubject, startUpstream } from './subjects.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    only: { type: 'string' },
  },
});
const plan = values.quick
  ? { rounds: 1, turns: 2, warmSeconds: 1, seconds: 2, rateSeconds: 4, streamSeconds: 3, openStreams: 200 }
  : { rounds: 5, turns: 4, warmSeconds: 4, seconds: 2, rateSeconds: 10, streamSeconds: 8, openStreams: 1_000 };
const rounds = values.rounds === undefined ? plan.rounds : Number(values.rounds);
const names = values.only === undefined ? SUBJECTS : SUBJECTS.filter((name) => values.only?.split(',').includes(name));

const CONNECTIONS = 64;
/** A stream of 20 chunks takes a tenth of a second by itself: enough of them to keep every subject busy. */
const STREAM_CONNECTIONS = 512;
const RATE = 500;
const STREAM_RATE = 100;
/** A clock that is later than this measures the machine, not the gateway. */
const LATE_MS_MAX = 5;

interface Figures {
  throughput: Throughput[];
  /** Of streams, each to its end. */
  streamed: Throughput[];
  rate: { p50Ms: number; p99Ms: number; failed: number; lateMs: number }[];
  streams: { p50Ms: number; p99Ms: number; failed: number; lateMs: number }[];
  megabytes: number;
  open: { megabytes: number; failed: number };
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.trunc(sorted.length / 2)] ?? Number.NaN;
}

/** The middle of what one serves beside the other, turn by turn. */
function ratioOf(one: Figures | undefined, other: Figures | undefined, of: 'throughput' | 'streamed'): number {
  return median((one?.[of] ?? []).map(({ perSecond }, i) => perSecond / (other?.[of][i]?.perSecond ?? Number.NaN)));
}

/** Each time another one begins. */
function inTurn<Item>(items: readonly Item[], turn: number): Item[] {
  const first = turn % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

async function measureTimes({ url, headers }: Subject, figures: Figures): Promise<void> {
  figures.rate.push(
    await runLoad({ mode: 'rate', url, headers, body: requestBody(), amount: RATE, seconds: plan.rateSeconds }),
  );
  figures.streams.push(
    await runLoad({
      mode: 'streams',
      url,
      headers,
      body: requestBody({ stream: true }),
      amount: STREAM_RATE,
      seconds: plan.streamSeconds,
    }),
  );
}

async function run(): Promise<Map<SubjectName, Figures>> {
  const upstream = await startUpstream();
  try {
    const found = await measureLoad(upstream);
    for (const [name, figures] of found) {
      const subject = name === 'direct' ? undefined : await startSubject(name, upstream);
      if (!subject) continue;
      figures.open = await measureOpenStreams(subject, plan.openStreams).finally(() => subject.stop());
    }
    return found;
  } finally {
    await upstream.process.stop();
  }
}

async function measureLoad(upstream: Awaited<ReturnType<typeof startUpstream>>): Promise<Map<SubjectName, Figures>> {
  const calls = { connections: CONNECTIONS, seconds: plan.seconds, body: requestBody() };
  const streams = { connections: STREAM_CONNECTIONS, seconds: plan.seconds, body: requestBody({ stream: true }) };
  const subjects: Subject[] = [];
  const found = new Map<SubjectName, Figures>();
  const figuresOf = ({ name }: Subject): Figures => found.get(name) as Figures;
  try {
    for (const name of names) {
      const subject = await startSubject(name, upstream);
      if (!subject) {
        console.log(`${name} is not here, and is left out.`);
        continue;
      }
      subjects.push(subject);
      const open = { megabytes: Number.NaN, failed: 0 };
      found.set(name, { throughput: [], streamed: [], rate: [], streams: [], megabytes: Number.NaN, open });
      await checkAnswers(subject);
      await measureThroughput(subject, { ...calls, seconds: plan.warmSeconds });
      await measureThroughput(subject, { ...streams, seconds: plan.warmSeconds });
    }
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < plan.turns; turn++) {
        for (const subject of inTurn(subjects, turn)) {
          const { throughput, streamed } = figuresOf(subject);
          throughput.push(await measureThroughput(subject, calls));
          streamed.push(await measureThroughput(subject, streams));
        }
      }
      for (const subject of inTurn(subjects, round)) await measureTimes(subject, figuresOf(subject));
      console.log(`round ${round + 1} of ${rounds} is done`);
    }
    for (const subject of subjects) figuresOf(subject).megabytes = peakMegabytes(subject.process.pid);
    return found;
  } finally {
    for (const subject of subjects) await subject.stop();
  }
}

function number(value: number, digits = 0): string {
  return Number.isNaN(value)
    ? '-'
    : value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function inWords(ratio: number): string {
  return ratio >= 1.5 ? `${number(ratio, 1)} times` : `${number(ratio * 100)} % of`;
}

function report(found: ReadonlyMap<SubjectName, Figures>): void {
  const direct = found.get('direct');
  const directP50 = median((direct?.rate ?? []).map((one) => one.p50Ms));
  const directP99 = median((direct?.rate ?? []).map((one) => one.p99Ms));
  console.log(
    `\n| | requests/s | p50 ms | p99 ms | CPU µs per request | streams/s | CPU µs per stream | added at ${RATE}/s: p50 ms | p99 ms | first byte p50 ms | p99 ms | peak MB | peak MB, ${number(plan.openStreams)} open streams | failed |`,
  );
  console.log('|---|---|---|---|---|---|---|---|---|---|---|---|---|---|');
  for (const [name, { throughput, streamed, rate, streams, megabytes, open }] of found) {
    const isDirect = name === 'direct';
    const failed = [...throughput, ...streamed, ...rate, ...streams, open].reduce((sum, one) => sum + one.failed, 0);
    const cells = [
      name,
      number(median(throughput.map((one) => one.perSecond))),
      number(median(throughput.map((one) => one.p50Ms)), 2),
      number(median(throughput.map((one) => one.p99Ms)), 2),
      isDirect ? '-' : number(median(throughput.map((one) => one.cpuMicros))),
      number(median(streamed.map((one) => one.perSecond))),
      isDirect ? '-' : number(median(streamed.map((one) => one.cpuMicros))),
      isDirect ? `(${number(directP50, 2)})` : number(median(rate.map((one) => one.p50Ms)) - directP50, 2),
      isDirect ? `(${number(directP99, 2)})` : number(median(rate.map((one) => one.p99Ms)) - directP99, 2),
      number(median(streams.map((one) => one.p50Ms)), 2),
      number(median(streams.map((one) => one.p99Ms)), 2),
      isDirect ? '-' : number(megabytes),
      isDirect ? '-' : number(open.megabytes),
      number(failed),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
  console.log('');
  const weir = found.get('weir');
  for (const name of ['pass-through', 'nginx', 'portkey'] as const) {
    const ratio = ratioOf(weir, found.get(name), 'throughput');
    if (Number.isNaN(ratio)) continue;
    const ofStreams = ratioOf(weir, found.get(name), 'streamed');
    console.log(`Weir serves ${inWords(ratio)} the requests/s of ${name}, and ${inWords(ofStreams)} its streams/s.`);
  }
  const onRedis = ratioOf(found.get('weir-redis'), weir, 'throughput');
  if (!Number.isNaN(onRedis)) {
    console.log(
      `With its limits and events in Redis it serves ${number(onRedis * 100)} % of what it serves with them in memory.`,
    );
  }
  const cpuOf = (name: SubjectName): number => median((found.get(name)?.throughput ?? []).map((one) => one.cpuMicros));
  const share = cpuOf('pass-through') / cpuOf('weir');
  if (!Number.isNaN(share))
    console.log(`By processor time alone that would be ${number(share * 100)} % of pass-through.`);
  const late = Math.max(
    ...[...found.values()].flatMap(({ rate, streams }) => [...rate, ...streams].map((one) => one.lateMs)),
  );
  if (late > LATE_MS_MAX) {
    console.log(
      `The clock of the load was up to ${number(late, 1)} ms late (99th percentile): the machine is too busy for these times.`,
    );
  }
}

console.log(
  `${new Date().toISOString().slice(0, 10)} · ${cpus()[0]?.model.trim()} · ${cpus().length} processors · ${number(totalmem() / 2 ** 30)} GB · ${process.platform} ${release()} · node ${process.version}`,
);
console.log(
  `${CONNECTIONS} connections by ${loadProgram()}, ${rounds * plan.turns} turns of ${plan.seconds} s, request and answer of about a kilobyte, and streams of 20 chunks over ${STREAM_CONNECTIONS}; upstream, load and gateway share the machine.`,
);
report(await run());
