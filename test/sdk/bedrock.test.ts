import { Sha256 } from '@aws-crypto/sha256-js';
import {
  AccessDeniedException,
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
  ServiceQuotaExceededException,
  ThrottlingException,
} from '@aws-sdk/client-bedrock-runtime';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { SignatureV4 } from '@smithy/signature-v4';
import { expect, it } from 'vitest';
import { encodeAwsMessage } from '#proxy/wire/aws-event-stream.ts';
import { encodeUtf8 } from '#proxy/wire/bytes.ts';
import {
  configOf,
  eventsOf,
  keyPolicy,
  limitPolicy,
  SECRET,
  type Stub,
  type StubRequest,
  startGateway,
  startStub,
  type TestGateway,
  upstreamConfig,
} from '#test/gateway/harness.ts';

const MODEL = 'us.anthropic.claude-opus-5-20260601-v1:0';
const ACCESS = { accessKeyId: 'AKIDWEIR', secretAccessKey: 'operator-secret', sessionToken: 'operator:session' };
const USAGE = {
  inputTokens: 13,
  outputTokens: 5,
  totalTokens: 1_534,
  cacheReadInputTokens: 1_504,
  cacheWriteInputTokens: 12,
  cacheDetails: [{ ttl: '1h', inputTokens: 12 }],
};
const COUNTED = { input_tokens: '13', output_tokens: '5', cache_read_tokens: '1504', cache_write_1h_tokens: '12' };

const event = (type: string, payload: object) =>
  encodeAwsMessage({
    headers: { ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' },
    payload: encodeUtf8(JSON.stringify(payload)),
  });

const STREAM = [
  event('messageStart', { role: 'assistant' }),
  event('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'It ' } }),
  event('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'flows.' } }),
  event('contentBlockStop', { contentBlockIndex: 0 }),
  event('messageStop', { stopReason: 'end_turn' }),
  event('metadata', { usage: USAGE, metrics: { latencyMs: 5 } }),
];
const METRICS = { inputTokenCount: 13, outputTokenCount: 5, cacheReadInputTokenCount: 1_504 };
const piece = (value: object) => event('chunk', { bytes: Buffer.from(JSON.stringify(value)).toString('base64') });
const INVOKED = [
  piece({ type: 'content_block_delta', delta: { text: 'It flows.' } }),
  piece({ type: 'message_stop', 'amazon-bedrock-invocationMetrics': METRICS }),
];

/** Bedrock, as far as these calls see it. */
function startBedrock(): Promise<Stub> {
  return startStub((response, { url }) => {
    if (url.endsWith('-stream')) {
      response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' });
      for (const message of url.endsWith('/converse-stream') ? STREAM : INVOKED) response.write(message);
      response.end();
      return;
    }
    const headers = {
      'content-type': 'application/json',
      'x-amzn-requestid': 'upstream',
      ...(url.endsWith('/invoke') && {
        'x-amzn-bedrock-input-token-count': '13',
        'x-amzn-bedrock-output-token-count': '5',
      }),
    };
    const message = { role: 'assistant', content: [{ text: 'It flows.' }] };
    response.writeHead(200, headers).end(JSON.stringify({ output: { message }, stopReason: 'end_turn', usage: USAGE }));
  });
}

function bedrockOf(stub: Stub, changes: Parameters<typeof upstreamConfig>[2] = {}) {
  const addresses = { bedrock: stub.url.replace(/\/v1$/, '') };
  return upstreamConfig('bedrock', '', {
    addresses,
    provider: 'aws.bedrock',
    auth: 'aws',
    region: 'us-east-1',
    credential: `${ACCESS.accessKeyId}:${ACCESS.secretAccessKey}:${ACCESS.sessionToken}`,
    models: ['*'],
    ...changes,
  });
}

const clientOf = ({ url }: TestGateway) =>
  new BedrockRuntimeClient({
    endpoint: url,
    region: 'us-east-1',
    credentials: { accessKeyId: SECRET, secretAccessKey: 'of no interest' },
    maxAttempts: 3,
    requestHandler: new NodeHttpHandler(),
  });

const ASKED = { modelId: MODEL, messages: [{ role: 'user' as const, content: [{ text: 'What is a weir?' }] }] };

/** What AWS would say of the signature: made anew by AWS's own signer over what arrived. */
async function signatureOf({ method, url, headers, body }: StubRequest): Promise<string | undefined> {
  const signer = new SignatureV4({
    service: 'bedrock',
    region: 'us-east-1',
    credentials: ACCESS,
    sha256: Sha256,
    applyChecksum: false,
  });
  const at = String(headers['x-amz-date']).replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5');
  const signed = await signer.sign(
    { method, protocol: 'http:', hostname: '', path: url, headers: { host: String(headers.host) }, body },
    { signingDate: new Date(at) },
  );
  return signed.headers.authorization;
}

it('serves the client of AWS, streamed and not, signed anew with the access key of the operator', async () => {
  await using stub = await startBedrock();
  await using weir = await startGateway(configOf([bedrockOf(stub)]));
  const client = clientOf(weir);

  const whole = await client.send(new ConverseCommand(ASKED));
  expect(whole.output?.message?.content).toEqual([{ text: 'It flows.' }]);
  const streamed = await client.send(new ConverseStreamCommand(ASKED));
  const events = await Array.fromAsync(streamed.stream ?? []);
  expect(events.map((one) => one.contentBlockDelta?.delta?.text ?? '').join('')).toBe('It flows.');
  expect(events.at(-1)?.metadata?.usage).toEqual(USAGE);
  const body = JSON.stringify({ anthropic_version: 'bedrock-2023-05-31', max_tokens: 9, messages: [] });
  await client.send(new InvokeModelCommand({ modelId: MODEL, body }));
  const invoked = await client.send(new InvokeModelWithResponseStreamCommand({ modelId: MODEL, body }));
  expect(await Array.fromAsync(invoked.body ?? [])).toHaveLength(2);

  const [converse, stream, invoke, invokeStream] = await eventsOf(weir, 4);
  expect(converse?.data).toMatchObject({ wire: 'bedrock-converse', model: MODEL, stream: false, quantities: COUNTED });
  expect(stream?.data).toMatchObject({
    wire: 'bedrock-converse',
    stream: true,
    usage_status: 'final',
    quantities: COUNTED,
  });
  expect(invoke?.data).toMatchObject({
    wire: 'bedrock-invoke',
    quantities: { input_tokens: '13', output_tokens: '5' },
  });
  expect(invokeStream?.data).toMatchObject({
    stream: true,
    quantities: { output_tokens: '5', cache_read_tokens: '1504' },
  });

  expect(stub.requests.map(({ url }) => url.split('/')[2])).toEqual(Array(4).fill(encodeURIComponent(MODEL)));
  for (const request of stub.requests) {
    expect(request.headers['x-amz-security-token']).toBe(ACCESS.sessionToken);
    const signature = (text: string | undefined) => /Signature=(\w+)/.exec(text ?? '')?.[1];
    expect(signature(request.headers.authorization)).toBe(signature(await signatureOf(request)));
  }
});

it('takes a key of Bedrock as it is, and a secret of ours as a bearer token', async () => {
  await using stub = await startBedrock();
  await using weir = await startGateway(configOf([bedrockOf(stub, { auth: null, credential: 'bedrock-api-key' })]));
  const client = new BedrockRuntimeClient({
    endpoint: weir.url,
    region: 'eu-west-1',
    token: { token: SECRET },
    authSchemePreference: ['httpBearerAuth'],
    requestHandler: new NodeHttpHandler(),
  });
  await client.send(new ConverseCommand(ASKED));
  expect(stub.requests[0]?.headers.authorization).toBe('Bearer bedrock-api-key');
  expect(stub.requests[0]?.headers['x-amz-date']).toBeUndefined();
});

it('raises the classes of AWS: a rate is throttling, a budget a quota that is not asked for again', async () => {
  await using stub = await startBedrock();
  const wrong = await startGateway(configOf([bedrockOf(stub)]));
  const stranger = new BedrockRuntimeClient({
    endpoint: wrong.url,
    region: 'us-east-1',
    credentials: { accessKeyId: 'nobody', secretAccessKey: 'x' },
    requestHandler: new NodeHttpHandler(),
  });
  await expect(stranger.send(new ConverseCommand(ASKED))).rejects.toBeInstanceOf(AccessDeniedException);
  await wrong[Symbol.asyncDispose]();

  const refused = async (limit: Parameters<typeof limitPolicy>[0]) => {
    await using weir = await startGateway(configOf([bedrockOf(stub)]), [keyPolicy({ limits: [limitPolicy(limit)] })]);
    return await clientOf(weir)
      .send(new ConverseCommand(ASKED))
      .catch((thrown: unknown) => thrown);
  };
  const throttled = await refused({ kind: 'requests', amount: '0', per: 'minute' });
  expect(throttled).toBeInstanceOf(ThrottlingException);
  const spent = await refused({ kind: 'budget', amount: '0', currency: 'USD', per: 'month' });
  expect(spent).toBeInstanceOf(ServiceQuotaExceededException);
  expect(spent).toMatchObject({ $metadata: { attempts: 1, httpStatusCode: 400 } });
  expect(stub.requests).toHaveLength(0);
});
