import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { listenAt } from '#config/listen.ts';
import type { App } from './app.ts';

export interface BillingServer {
  host: string;
  port: number;
  url: string;
  /** Takes no new connection, lets what is running finish within the bound, then cuts it. */
  close(timeoutMs: number): Promise<void>;
}

/** Slow clients are cut: nobody needs minutes to send a request head or a megabyte. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;

/** Listens on host and port (0 picks a free one). Rejects when it cannot. */
export async function serveBilling(app: App, address: { host: string; port: number }): Promise<BillingServer> {
  const server = createServer(
    { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    getRequestListener((request) => app.fetch(request), { overrideGlobalObjects: false }),
  );
  const port = await listenAt(server, address);
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return { host: address.host, port, url: `http://${host}:${port}`, close: (timeoutMs) => close(server, timeoutMs) };
}

async function close(server: Server, timeoutMs: number): Promise<void> {
  const closed = new Promise<void>((resolve, reject) => {
    server.close((error) => (error ? reject(error) : resolve()));
  });
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), timeoutMs);
  try {
    await closed;
  } finally {
    clearTimeout(cut);
  }
}
