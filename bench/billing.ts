/**
 * Stands in for billing beside a gateway that is measured alone: takes every event and says that nothing was spent
 * before. Billing has a benchmark of its own (bench/ingest.ts). `node bench/billing.ts PORT`.
 */
import { createServer, type ServerResponse } from 'node:http';

const [port = '0'] = process.argv.slice(2);
const POLICY_POLL_MS = 25_000;

function answer(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://billing');
  request.resume();
  request.on('end', () => {
    if (pathname === '/v1/usage/since') return answer(response, { models: [] });
    if (pathname === '/v1/events/missing') return answer(response, { missing: [] });
    if (pathname !== '/v1/policies') return answer(response, {});
    const changes = { version: '1', reset: !searchParams.has('after'), policies: [], removed: [] };
    if (changes.reset) return answer(response, changes);
    const timer = setTimeout(() => answer(response, changes), POLICY_POLL_MS);
    response.on('close', () => clearTimeout(timer));
  });
});
server.listen({ port: Number(port), host: '127.0.0.1' });
process.on('SIGTERM', () => process.exit(0));
