import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { startGateway } from '#test/support/running-gateway.ts';
import { everythingServer } from './mcp-everything.ts';

const SUITE = fileURLToPath(
  new URL('../../node_modules/@modelcontextprotocol/conformance/dist/index.js', import.meta.url),
);
/** What the suite says of a server, scenario by scenario. */
async function resultsOf(url: string): Promise<string[]> {
  const cwd = await mkdtemp(join(tmpdir(), 'weir-mcp-'));
  try {
    const options = { cwd, maxBuffer: 1 << 26, timeout: 120_000 };
    const output = await new Promise<string>((resolve) => {
      // It ends with an error where a scenario fails: what counts is what it says.
      execFile(process.execPath, [SUITE, 'server', '--url', url], options, (_, stdout) => resolve(stdout));
    });
    return output.split('\n').filter((line) => /: \d+ passed, \d+ failed/.test(line));
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}

it('finds the same of a server of MCP directly and through the gateway', { timeout: 300_000 }, async () => {
  const server = everythingServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const direct = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  const gateway = await startGateway({ upstreamUrl: { mcp: direct }, models: ['*'] });
  try {
    const wanted = await resultsOf(direct);
    expect(wanted.filter((line) => line.startsWith('✓')).length).toBeGreaterThanOrEqual(28);
    // The suite sends no key but in the address.
    expect(await resultsOf(`${gateway.origin}/mcp/upstream?key=${gateway.secret}`)).toEqual(wanted);
  } finally {
    await gateway.stop();
    server.closeAllConnections();
    server.close();
  }
});
