import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, it } from 'vitest';
import { type Stub, sha256, startStub } from '../gateway/harness.ts';
import { freePort } from '../servers/server.ts';
import { billingStub } from '../support/billing-stub.ts';
import { temporaryFolder } from '../support/journal.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir-process.ts';
import { until } from './until.ts';

const run = promisify(execFile);
const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const WORD = 'data: {"id":"1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"12345678"}}]}\n\n';
const LAST = `data: {"id":"1","model":"gpt-4o","choices":[],"usage":${JSON.stringify(USAGE)}}\n\ndata: [DONE]\n\n`;
const SECRET = 'wr_test_full_disk';
const UNSHARE = process.getuid?.() === 0 ? ['unshare', '-m'] : ['unshare', '-Urm'];
const MOUNT = 'mount -t tmpfs -o size=8m tmpfs "$0"';

let stub: Stub | undefined;
let gateway: SpawnedWeir | undefined;

afterEach(async () => {
  await gateway?.kill();
  await stub?.[Symbol.asyncDispose]();
});

/** A file system of a few megabytes is mounted for the gateway alone, and filled through its own view of the files. */
it('refuses calls while the disk is full, finishes those in flight, and loses no event', { timeout: 90_000 }, async ({
  skip,
}) => {
  const folder = temporaryFolder();
  const allowed = await run('sh', ['-c', `${UNSHARE.join(' ')} ${MOUNT}`, folder]).then(
    () => true,
    () => false,
  );
  skip(!allowed, 'no file system may be mounted here; journal-disk.test.ts fills the journal itself everywhere');

  const endStreams: (() => void)[] = [];
  stub = await startStub((response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(WORD);
    endStreams.push(() => response.end(LAST));
  });
  const billing = await billingStub();
  const [data, config, port] = [path.join(folder, 'data'), path.join(folder, 'weir.yaml'), await freePort()];
  await writeFile(config, configText(port, billing.url, stub.url));
  await run('mkdir', [data]);
  gateway = spawnWeir(
    ['gateway'],
    { WEIR_CONFIG: config, WEIR_DATA_DIR: data, WEIR_ADMIN_TOKEN: 'wr_api_test', WEIR_BILLING_TOKEN: 'wr_api_test' },
    [...UNSHARE, 'sh', '-c', `${MOUNT.replace('$0', data)} && exec "$0" "$@"`],
  );
  await gateway.said(/^gateway listens on /m);
  const url = `http://127.0.0.1:${port}`;
  const filler = `/proc/${gateway.pid}/root${data}/filler`;
  const send = () =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'gpt-4o', stream: true, messages: [{ role: 'user', content: 'Hi' }] }),
    });
  const ready = async () => (await fetch(`${url}/readyz`)).status;

  const served = [await send(), await send()];
  await until(() => endStreams.length === 2, 'both streams');
  expect(await ready()).toBe(200);
  await writeFile(filler, Buffer.alloc(16 * 1024 * 1024)).catch(() => 'full, as wanted');

  let refused: Response | undefined;
  await until(async () => {
    const response = await send();
    if (response.status === 200) served.push(response);
    else refused = response;
    return refused !== undefined;
  }, 'a call to be refused');
  expect(refused?.status).toBe(503);
  expect(await refused?.json()).toMatchObject({ error: { code: 'journal_unavailable' } });
  expect(await ready()).toBe(503);
  await until(() => endStreams.length === served.length, 'all streams');
  for (const end of endStreams) end();
  for (const response of served) expect(await response.text()).toContain('[DONE]');

  await rm(filler);
  let last: Response | undefined;
  await until(async () => {
    const response = await send();
    if (response.status === 200) last = response;
    return last !== undefined;
  }, 'calls to be taken again');
  expect(await ready()).toBe(200);
  await until(() => endStreams.length === served.length + 1, 'the last stream');
  endStreams.at(-1)?.();
  if (last) served.push(last);
  expect(await gateway.terminate()).toBe(0);

  expect([...billing.events.keys()].sort()).toEqual(served.map((each) => each.headers.get('x-request-id')).sort());
  for (const event of billing.events.values()) expect(event.data.usage_status).toBe('final');
  await billing.down();
});

function configText(port: number, billingUrl: string, upstreamUrl: string): string {
  return `
gateway: { host: 127.0.0.1, port: ${port} }
billing: { url: "${billingUrl}" }
telemetry: { log_level: warn }
upstreams:
  stub: { wire: openai, provider: openai, base_url: "${upstreamUrl}" }
customers:
  acme:
    name: Acme Inc
    limits: [{ concurrency: 100 }]
    keys:
      acme-prod: { secret: "sha256:${sha256(SECRET)}" }
`;
}
