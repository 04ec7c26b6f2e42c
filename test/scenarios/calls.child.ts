/**
 * A gateway without its HTTP: opens and closes calls as fast as it can until it is killed, and says in a file what it
 * knows, before and after each step. Started again on the same folder it recovers first. With `finish`
 * it recovers, brings everything to its end and exits.
 */
import { openSync, writeSync } from 'node:fs';
import { openRedis } from '#config/redis-connection.ts';
import { newId } from '#core/id.ts';
import { SILENT } from '#core/log.ts';
import type { Counters } from '#proxy/limits/counters.ts';
import { memoryCounters } from '#proxy/limits/memory.ts';
import { redisCounters } from '#proxy/limits/redis.ts';
import { httpShipping } from '#proxy/sink/journal/http-shipping.ts';
import { type Journal, openJournal } from '#proxy/sink/journal/journal.ts';
import { recoverJournal } from '#proxy/sink/journal/recovery.ts';
import { type Shipper, shipJournal } from '#proxy/sink/journal/shipper.ts';
import { journalSink } from '#proxy/sink/journal-sink.ts';
import { redisSink } from '#proxy/sink/redis-sink.ts';
import type { Sink } from '#proxy/sink/sink.ts';
import { sampleClosing, sampleOpening } from '#test/support/usage.ts';

export interface ChildOptions {
  dir: string;
  fsync: 'always' | 'interval' | 'never';
  /** A billing role to ship to, or a Redis to settle in. */
  store: { kind: 'billing'; url: string } | { kind: 'redis'; url: string; namespace: string };
  finish: boolean;
  /** The file that it tells. */
  witness: string;
}

interface Gateway {
  counters: Counters;
  sink: Sink;
  shipper: Shipper;
}

const options: ChildOptions = JSON.parse(process.argv[2] ?? '');
const witness = openSync(options.witness, 'a');
const CALLERS = 16;
const BACKOFF = { firstMs: 5, maxMs: 100 };

const settings = { fsync: options.fsync, fsyncIntervalMs: 10, bytesMax: 2 ** 26, segmentBytesMax: 2 ** 18 };
const journal = await openJournal({ dir: options.dir, settings, now: Date.now, log: SILENT });
const gateway = startGateway(journal);
await recoverJournal({ journal });
console.log('ready');

if (options.finish) {
  await gateway.shipper.shipped();
  await gateway.sink.drain();
  console.log(`finished ${journal.liveCount}`);
  process.exit();
}
for (let i = 0; i < CALLERS; i++) void callForEver(i);

function startGateway(journal: Journal): Gateway {
  const { store } = options;
  if (store.kind === 'billing') {
    const counters = memoryCounters({ clock: Date.now });
    const { ship } = httpShipping({ url: store.url, token: 'wr_api_test' });
    const shipper = shipJournal({ journal, ship, now: Date.now, log: SILENT, backoff: BACKOFF });
    return { counters, sink: journalSink({ counters, journal }), shipper };
  }
  const redis = openRedis(store.url, { commandTimeoutMs: 200, connectTimeoutMs: 200, onError: () => undefined });
  const counters = redisCounters({ redis, namespace: store.namespace });
  const sink = redisSink({ counters, journal, now: Date.now, log: SILENT });
  return { counters, sink, shipper: sink.replay };
}

async function callForEver(caller: number): Promise<never> {
  for (let n = 1; ; n++) {
    await nextTurn();
    await call(newId('req', Date.now()), `customer-${caller}`, BigInt(n), n % 10 === 0);
  }
}

async function call(id: string, customer: string, outputTokens: bigint, abandoned: boolean): Promise<void> {
  const opening = sampleOpening(id, customer);
  try {
    await gateway.counters.reserve(opening.reservation);
    tell(`opening ${id}`);
    await gateway.sink.open(opening);
  } catch {
    tell(`refused ${id}`);
    return;
  }
  tell(`opened ${id}`);
  await upstreamAnswers();
  if (abandoned) {
    tell(`abandoning ${id}`);
    await gateway.sink.abandon(opening);
    tell(`abandoned ${id}`);
  } else {
    tell(`closing ${id} ${outputTokens}`);
    await gateway.sink.close(sampleClosing(id, outputTokens, customer));
    tell(`closed ${id}`);
  }
}

/** An upstream that takes a moment, each time another. */
function upstreamAnswers(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Written when it returns: what was told stays told when the process is killed. */
function tell(line: string): void {
  writeSync(witness, `${line}\n`);
}
