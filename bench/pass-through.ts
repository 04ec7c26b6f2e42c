/**
 * The least that a gateway in Node can be: node:http in, undici's dispatcher out, bytes as they come. No key, no
 * parsing, no limits, no journal. The bar for Weir. `node bench/pass-through.ts PORT UPSTREAM_PORT`. Prints `ready`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Pool } from 'undici';

const [port = '0', upstreamPort = '0'] = process.argv.slice(2);
const pool = new Pool(`http://127.0.0.1:${upstreamPort}`, { connections: 2_048, bodyTimeout: 0, headersTimeout: 0 });

function forward(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
  pool.dispatch(
    {
      path: request.url ?? '/',
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer upstream' },
      body,
    },
    {
      onRequestStart(controller) {
        response.on('close', () => {
          if (!response.writableFinished) controller.abort(new Error('the client has gone'));
        });
      },
      onResponseStart(_, status, headers) {
        const { connection: _connection, 'transfer-encoding': _encoding, ...rest } = headers;
        response.writeHead(status, rest);
      },
      onResponseData(controller, data) {
        if (!response.write(data)) {
          controller.pause();
          response.once('drain', () => controller.resume());
        }
      },
      onResponseEnd() {
        response.end();
      },
      onResponseError() {
        response.destroy();
      },
    },
  );
}

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => forward(request, parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts), response));
});
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4_096 }, () => console.log('ready'));
process.on('SIGTERM', () => process.exit(0));
