import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRedis, type RedisConnection } from '#config/redis-connection.ts';
import { newSecret } from '#config/secret.ts';
import { DEFAULT_NAMESPACE, eventStream, SHARDS } from '#core/redis-keys.ts';
import { startRedis } from '#test/servers/redis.ts';
import { freePort, type Running, runProgram, startServer } from './processes.ts';

/** What is measured: the way straight to the upstream, and the gateways that stand in it. */
export interface Subject {
  readonly name: SubjectName;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly process: Running;
  stop(): Promise<void>;
}

export const SUBJECTS = ['direct', 'pass-through', 'nginx', 'weir', 'weir-redis', 'portkey'] as const;
export type SubjectName = (typeof SUBJECTS)[number];

const PATH = '/v1/chat/completions';
const HEADERS = { 'content-type': 'application/json', authorization: 'Bearer client' };
const ROOT = join(import.meta.dirname, '..');
const TRIM_MS = 1_000;

export async function startUpstream(): Promise<{ port: number; process: Running }> {
  const port = await freePort();
  const file = join(import.meta.dirname, 'upstream.ts');
  return { port, process: await startServer(process.execPath, [file, `${port}`], { port }) };
}

/** Undefined where the machine does not have it. */
export async function startSubject(
  name: SubjectName,
  upstream: { port: number; process: Running },
): Promise<Subject | undefined> {
  switch (name) {
    case 'direct':
      return subject(name, upstream.port, HEADERS, upstream.process, () => Promise.resolve());
    case 'pass-through':
      return await startPassThrough(upstream.port);
    case 'nginx':
      return await startNginx(upstream.port);
    case 'weir':
      return await startWeir(upstream.port);
    case 'weir-redis':
      return await startWeirOnRedis(upstream.port);
    case 'portkey':
      return await startPortkey(upstream.port);
  }
}

function subject(
  name: SubjectName,
  port: number,
  headers: Record<string, string>,
  process: Running,
  stop = () => process.stop(),
): Subject {
  return { name, url: `http://127.0.0.1:${port}${PATH}`, headers, process, stop };
}

async function startPassThrough(upstreamPort: number): Promise<Subject> {
  const port = await freePort();
  const file = join(import.meta.dirname, 'pass-through.ts');
  return subject(
    'pass-through',
    port,
    HEADERS,
    await startServer(process.execPath, [file, `${port}`, `${upstreamPort}`], { port }),
  );
}

/** One worker, as everything else here has one process. */
async function startNginx(upstreamPort: number): Promise<Subject | undefined> {
  const binary = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/bin/nginx', '/opt/homebrew/bin/nginx'].find(
    existsSync,
  );
  if (!binary) return undefined;
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'weir-bench-nginx-'));
  const file = join(folder, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off;
master_process off;
pid ${folder}/pid;
error_log ${folder}/error.log;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  upstream bench { server 127.0.0.1:${upstreamPort}; keepalive 512; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    keepalive_requests 100000000;
    location / {
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header connection "";
      proxy_buffering off;
      client_body_buffer_size 64k;
    }
  }
}
`,
  );
  const running = await startServer(binary, ['-p', folder, '-c', file, '-e', join(folder, 'error.log')], { port });
  return subject('nginx', port, HEADERS, running, async () => {
    await running.stop();
    rmSync(folder, { recursive: true });
  });
}

/** Weir as its own process: a key, three limits that every call is held to, the journal on, billing elsewhere. */
async function startWeir(upstreamPort: number, redisUrl = ''): Promise<Subject | undefined> {
  const cli = join(ROOT, 'src', 'cli.ts');
  if (!existsSync(cli)) return undefined;
  const [port, billingPort] = [await freePort(), await freePort()];
  const folder = mkdtempSync(join(tmpdir(), 'weir-bench-'));
  const secret = newSecret('test');
  const config = join(folder, 'weir.yaml');
  writeFileSync(
    config,
    `allow_plaintext_secrets: true
gateway: { host: 127.0.0.1, port: ${port} }
billing: { host: 127.0.0.1, port: ${billingPort}, url: "http://127.0.0.1:${billingPort}" }
telemetry: { log_level: warn }
upstreams:
  bench: { wire: openai, base_url: "http://127.0.0.1:${upstreamPort}/v1", key: upstream, provider: bench, models: [bench-1] }
models:
  - provider: bench
    model: bench-1
    context_tokens: 128k
    output_tokens_max: 4k
    prices: [{ unit: input_tokens, amount: 0.15, per: 1M }, { unit: output_tokens, amount: 0.60, per: 1M }]
customers:
  bench:
    limits:
      - { requests: 100M, per: minute }
      - { tokens: 100G, per: minute }
      - { budget: 9000000 USD, per: month }
    keys: { bench: { secret: ${secret} } }
`,
  );
  const env = {
    WEIR_CONFIG: config,
    WEIR_DATA_DIR: folder,
    WEIR_ADMIN_TOKEN: secret,
    WEIR_BILLING_TOKEN: secret,
    REDIS_URL: redisUrl,
    DATABASE_URL: '',
  };
  const billing = await startServer(process.execPath, [join(import.meta.dirname, 'billing.ts'), `${billingPort}`], {
    port: billingPort,
  });
  const running = await startServer(process.execPath, [cli, 'gateway'], { port, env, cwd: ROOT });
  return subject(
    redisUrl === '' ? 'weir' : 'weir-redis',
    port,
    { ...HEADERS, authorization: `Bearer ${secret}` },
    running,
    async () => {
      await running.stop();
      await billing.stop();
      rmSync(folder, { recursive: true });
    },
  );
}

/** The same with its limits and events in a Redis of its own, as several gateways would have them. */
async function startWeirOnRedis(upstreamPort: number): Promise<Subject | undefined> {
  const redis = await startRedis();
  const weir = await startWeir(upstreamPort, redis.url);
  const client = openRedis(redis.url, { onError: (error) => console.error(error) });
  const trimming = setInterval(() => void trimStreams(client), TRIM_MS);
  return (
    weir && {
      ...weir,
      stop: async () => {
        clearInterval(trimming);
        client.disconnect();
        await weir.stop();
        await redis.stop();
      },
    }
  );
}

/** In place of billing's consumer. */
async function trimStreams(redis: RedisConnection): Promise<void> {
  if (redis.status !== 'ready') return;
  for (let shard = 0; shard < SHARDS; shard++) await redis.xtrim(eventStream(DEFAULT_NAMESPACE, shard), 'MAXLEN', 0);
}

/** The npm package of the best known gateway on Node, installed here when it is first asked for. */
async function startPortkey(upstreamPort: number): Promise<Subject> {
  const folder = join(import.meta.dirname, 'peers');
  const server = join(folder, 'node_modules', '@portkey-ai', 'gateway', 'build', 'start-server.js');
  if (!existsSync(server)) {
    console.log('Installing the peers once (npm ci in bench/peers).');
    await runProgram('npm', ['ci', '--prefix', folder, '--no-audit', '--no-fund', '--ignore-scripts']);
  }
  const port = await freePort();
  const headers = {
    ...HEADERS,
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `http://127.0.0.1:${upstreamPort}/v1`,
  };
  const running = await startServer(process.execPath, [server, '--headless', `--port=${port}`], { port, cwd: folder });
  return subject('portkey', port, headers, running);
}
