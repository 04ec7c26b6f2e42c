import { expect, test } from 'vitest';
import { SILENT } from '#core/log.ts';
import { keyPolicy, SECRET, sha256 } from '#test/gateway/harness.ts';
import { pullPolicies } from './http-pull.ts';
import { policyTable } from './policy-table.ts';

const OTHER = sha256('another secret');

/** Billing as a list of answers; a number is a status, and after the last one it is away. */
function billing(...answers: (object | number)[]) {
  const table = policyTable();
  const asked: string[] = [];
  let version: string | undefined;
  return {
    table,
    asked,
    pull: async () => {
      version = await pullPolicies(
        {
          url: 'https://billing.test',
          token: 'wr_api_x',
          table,
          log: SILENT,
          fetch: async (input, init) => {
            asked.push(`${new Headers(init?.headers).get('authorization')} ${String(input)}`);
            const answer = answers.shift();
            if (answer === undefined) throw new TypeError('fetch failed');
            return typeof answer === 'number' ? new Response('no', { status: answer }) : Response.json(answer);
          },
        },
        version,
      );
      return version;
    },
  };
}

test('takes everything first, and then what changed, without waiting for it', async () => {
  const { table, asked, pull } = billing(
    { version: 'e.1', reset: true, policies: [keyPolicy()], removed: [] },
    {
      version: 'e.2',
      reset: false,
      policies: [keyPolicy({ key: 'other', secretHashes: [OTHER] })],
      removed: ['key_test'],
    },
  );
  expect(await pull()).toBe('e.1');
  expect(table.find(sha256(SECRET))?.key).toBe('key_test');
  expect(await pull()).toBe('e.2');
  expect(table.find(sha256(SECRET))).toBeUndefined();
  expect(table.find(OTHER)?.key).toBe('other');
  expect(asked).toEqual([
    'Bearer wr_api_x https://billing.test/v1/policies?wait_seconds=0',
    'Bearer wr_api_x https://billing.test/v1/policies?wait_seconds=0&after=e.1',
  ]);
});

test('keeps what it has, and asks for the same again, when billing is away or answers rubbish', async () => {
  const { table, pull } = billing({ version: 'e.1', reset: true, policies: [keyPolicy()], removed: [] }, 503, {
    version: 'e.2',
  });
  for (let i = 0; i < 4; i++) expect(await pull()).toBe('e.1');
  expect(table.find(sha256(SECRET))?.key).toBe('key_test');
});

test('keeps the old form of a policy whose new form it does not know', async () => {
  const newer = { ...keyPolicy(), version: 3, more: true };
  const { table, pull } = billing(
    { version: 'e.1', reset: true, policies: [keyPolicy()], removed: [] },
    { version: 'f.1', reset: true, policies: [newer], removed: [] },
  );
  await pull();
  expect(await pull()).toBe('f.1');
  expect(table.find(sha256(SECRET))?.key).toBe('key_test');
});
