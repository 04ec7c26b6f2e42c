import Anthropic, { toFile } from '@anthropic-ai/sdk';
import { describe, expect, it } from 'vitest';
import {
  configOf,
  eventsOf,
  keyPolicy,
  OTHER,
  otherPolicy,
  SECRET,
  startGateway,
  startStub,
  upstreamConfig,
} from '#test/gateway/harness.ts';
import { testStored } from '#test/gateway/stored.ts';

const MODEL = 'claude-sonnet-5';
const FILE = { id: 'file_011', type: 'file', filename: 'a.txt', mime_type: 'text/plain', size_bytes: 2 };
const ANSWER = {
  id: 'msg_1',
  type: 'message',
  model: MODEL,
  content: [{ type: 'text', text: 'Hi.' }],
  stop_reason: 'end_turn',
  usage: { input_tokens: 9, output_tokens: 3 },
};

async function world() {
  const stub = await startStub((response, { url, method }) => {
    if (url.includes('/content')) {
      response.writeHead(200, { 'content-type': 'text/plain' }).end('Hi');
      return;
    }
    const said = url.includes('/messages')
      ? ANSWER
      : method === 'DELETE'
        ? { id: FILE.id, type: 'file_deleted' }
        : FILE;
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said));
  });
  const addresses = { anthropic: stub.url.replace(/\/v1$/, ''), openai: `${stub.url}/never` };
  const upstream = upstreamConfig('anthropic', '', { addresses, provider: 'anthropic' });
  const other = otherPolicy();
  const { stored } = testStored();
  const gateway = await startGateway(configOf([upstream]), [keyPolicy(), other], { stored });
  const clientOf = (apiKey: string) => new Anthropic({ apiKey, baseURL: gateway.url, maxRetries: 0 });
  return {
    stub,
    gateway,
    client: clientOf(SECRET),
    other: clientOf(OTHER),
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await stub[Symbol.asyncDispose]();
    },
  };
}

type Block = Anthropic.Beta.BetaContentBlockParam;
const reading = (client: Anthropic, block: Block) =>
  client.beta.messages.create({
    model: MODEL,
    max_tokens: 9,
    betas: ['files-api-2025-04-14'],
    messages: [{ role: 'user', content: [block] }],
  });
const BLOCKS: readonly Block[] = [
  { type: 'document', source: { type: 'file', file_id: FILE.id } },
  { type: 'image', source: { type: 'file', file_id: FILE.id } },
  { type: 'container_upload', file_id: FILE.id },
];

describe('a file of Anthropic', () => {
  it('is sent, looked at, read by messages, fetched and deleted with its client, and billed by nobody', async () => {
    await using all = await world();
    const { client, stub, gateway } = all;
    const file = await toFile(Buffer.from('Hi'), 'a.txt');
    const sent = await client.beta.files.upload({ file, betas: ['files-api-2025-04-14'] });
    expect(sent.id).toBe(FILE.id);
    const headers = { 'x-api-key': 'sk-upstream', 'anthropic-beta': 'files-api-2025-04-14' };
    expect(stub.requests[0]?.headers).toMatchObject(headers);
    expect((await client.beta.files.retrieveMetadata(FILE.id)).filename).toBe('a.txt');
    for (const block of BLOCKS) expect((await reading(client, block)).id).toBe('msg_1');
    expect(await (await client.beta.files.download(FILE.id)).text()).toBe('Hi');
    expect((await client.beta.files.delete(FILE.id)).type).toBe('file_deleted');
    const events = await eventsOf(gateway, 7);
    const files = events.filter(({ data }) => data.wire === 'anthropic-files');
    expect(files.map(({ data }) => data.quantities)).toEqual([{}, {}, {}, {}]);
  });

  it('is there for the customer who sent it alone, and listed by nobody', async () => {
    await using all = await world();
    const { client, other, stub } = all;
    await client.beta.files.upload({ file: await toFile(Buffer.from('Hi'), 'a.txt') });
    const before = stub.requests.length;
    const { NotFoundError } = Anthropic;
    await expect(other.beta.files.retrieveMetadata(FILE.id)).rejects.toBeInstanceOf(NotFoundError);
    await expect(other.beta.files.download(FILE.id)).rejects.toBeInstanceOf(NotFoundError);
    await expect(other.beta.files.delete(FILE.id)).rejects.toBeInstanceOf(NotFoundError);
    for (const block of BLOCKS) await expect(reading(other, block)).rejects.toBeInstanceOf(NotFoundError);
    await expect(client.beta.files.list()).rejects.toMatchObject({ status: 405 });
    expect(stub.requests.length).toBe(before);
    const operators: Block = { type: 'document', source: { type: 'file', file_id: 'file_of_the_operator' } };
    expect((await reading(other, operators)).id).toBe('msg_1');
  });
});
