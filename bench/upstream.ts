/**
 * The upstream of all benchmarks, as fast as Node can be: a socket that answers chat completions with bytes made
 * beforehand. `node bench/upstream.ts PORT`. Prints `ready`.
 *
 * What the prompt says decides the answer: `stream` in the body gives 20 chunks, 5 ms apart; a prompt that holds
 * `hold:SECONDS` gives a stream that stays open that long with a chunk each second.
 */
import { createServer, type Socket } from 'node:net';

const [port = '0'] = process.argv.slice(2);
const CHUNKS = 20;
const CHUNK_INTERVAL_MS = 5;
const CREATED = 1_795_000_000;
const TEXT = 'A weir is a low dam across a stream that measures what flows over it. '.repeat(9);
const USAGE = {
  prompt_tokens: 180,
  completion_tokens: 120,
  total_tokens: 300,
  prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
};

const plain = answer(
  'application/json',
  JSON.stringify({
    id: 'chatcmpl-bench',
    object: 'chat.completion',
    created: CREATED,
    model: 'bench-1',
    choices: [
      { index: 0, message: { role: 'assistant', content: TEXT, refusal: null }, logprobs: null, finish_reason: 'stop' },
    ],
    usage: USAGE,
    service_tier: 'default',
  }),
);
const streamHead = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n',
);
const delta = chunk(event({ choices: [{ index: 0, delta: { content: 'what flows over it ' }, finish_reason: null }] }));
const stop = chunk(event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }));
const usage = chunk(event({ choices: [], usage: USAGE }));
const done = Buffer.concat([chunk('data: [DONE]\n\n'), Buffer.from('0\r\n\r\n')]);

function event(fields: object): string {
  const common = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: CREATED, model: 'bench-1' };
  return `data: ${JSON.stringify({ ...common, ...fields })}\n\n`;
}

function chunk(text: string): Buffer {
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
}

function answer(type: string, body: string): Buffer {
  return Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function respond(socket: Socket, body: string): void {
  if (!body.includes('"stream":true')) {
    socket.write(plain);
    return;
  }
  const held = /hold:(\d+)/.exec(body)?.[1];
  const count = held === undefined ? CHUNKS : Number(held);
  const intervalMs = held === undefined ? CHUNK_INTERVAL_MS : 1_000;
  const withUsage = /"include_usage":\s*true/.test(body);
  let sent = 1;
  socket.write(Buffer.concat([streamHead, delta]));
  const timer = setInterval(() => {
    if (socket.destroyed) clearInterval(timer);
    else if (sent++ < count) socket.write(delta);
    else {
      clearInterval(timer);
      socket.write(Buffer.concat(withUsage ? [stop, usage, done] : [stop, done]));
    }
  }, intervalMs);
}

/** Requests in one connection, however they are cut: enough of HTTP/1.1 for clients that we start ourselves. */
function serve(socket: Socket): void {
  let pending = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => {
    pending = pending.length === 0 ? data : Buffer.concat([pending, data]);
    for (;;) {
      const headEnd = pending.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      const head = pending.toString('latin1', 0, headEnd).toLowerCase();
      const bodyStart = headEnd + 4;
      const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1];
      const found =
        length === undefined ? chunkedBody(pending, bodyStart, head) : fixedBody(pending, bodyStart, Number(length));
      if (!found) return;
      pending = pending.subarray(found.end);
      respond(socket, found.body);
    }
  });
}

function fixedBody(bytes: Buffer, start: number, length: number): { body: string; end: number } | undefined {
  const end = start + length;
  return bytes.length < end ? undefined : { body: bytes.toString('latin1', start, end), end };
}

function chunkedBody(bytes: Buffer, start: number, head: string): { body: string; end: number } | undefined {
  if (!head.includes('transfer-encoding: chunked')) return { body: '', end: start };
  let at = start;
  let body = '';
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (bytes.length < next) return undefined;
    body += bytes.toString('latin1', lineEnd + 2, lineEnd + 2 + size);
    at = next;
    if (size === 0) return { body, end: at };
  }
}

const server = createServer(serve);
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4_096 }, () => console.log('ready'));
process.on('SIGTERM', () => process.exit(0));
