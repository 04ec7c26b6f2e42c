import { afterEach, expect, it, vi } from 'vitest';
import type { Hold } from '#proxy/limits/counters.ts';
import { configOf, sha256, startGateway } from '#test/gateway/harness.ts';
import { limitsCommand } from './limits-command.ts';

const TOKEN = 'wr_api_operator';
const budget = (amount: bigint): Hold => ({
  kind: 'quota',
  counter: 'budget/month/customer%2Fbudget%2Fmonth/2026-11',
  amount,
  limit: 1_000n,
  expiresAtMs: Date.UTC(2099, 0, 1),
});
const call = (id: string, holds: Hold[]) => ({ id, customer: 'acme & sons', atMs: 0, leaseMs: 600_000, holds });

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

it('prints every call in flight and every debt of a customer, however many', async () => {
  await using weir = await startGateway(configOf([]), [], { operatorHash: sha256(TOKEN) });
  for (let i = 0; i < 450; i++) weir.counters.reserve(call(`req_${i}`, [budget(1n)]));
  weir.counters.settle(call('req_dear', [budget(1n)]), [1_500n]);
  vi.stubEnv('WEIR_ADMIN_TOKEN', TOKEN);
  const lines: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
  expect(await limitsCommand('acme & sons', weir.url)).toBe(0);
  const text = lines.join('');
  expect(new Set(text.match(/^req_\d+/gm)).size).toBe(450);
  expect(text.match(/^req_\d+/gm)).toHaveLength(450);
  expect(text).toContain('  budget/month/customer/budget/month/2026-11  1\n');
  expect(text).toContain('debt  budget/month/customer/budget/month/2026-11  500 over 1000 (1500 used)\n');
  expect(text).toContain('450 calls in flight, 1 counters in debt.\n');
});

it('is for the operator only, and not there where there is none', async () => {
  await using weir = await startGateway(configOf([]), [], { operatorHash: sha256(TOKEN) });
  const status = async (url: string, token: string) =>
    (await fetch(`${url}/operator/limits/acme`, { headers: { authorization: `Bearer ${token}` } })).status;
  expect(await status(weir.url, TOKEN)).toBe(200);
  expect(await status(weir.url, 'wr_live_key')).toBe(401);
  await using other = await startGateway(configOf([]));
  expect(await status(other.url, TOKEN)).toBe(404);
  vi.stubEnv('WEIR_ADMIN_TOKEN', 'another');
  await expect(limitsCommand('acme', weir.url)).rejects.toMatchObject({ story: expect.stringContaining('401') });
});
