import { generateKeyPairSync, verify } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { googleTokens } from './google-node.ts';

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const account = {
  type: 'service_account',
  client_email: 'gateway@a-project.iam.gserviceaccount.com',
  private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
};
const KEY = Buffer.from(JSON.stringify(account)).toString('base64');
const HOUR_SECONDS = 3_600;

/** Google's token server: what it was asked, and answers that come when they are let go. */
function tokenServer(answers: { status: number; body: object }[] = []) {
  const assertions: string[] = [];
  const fetchImplementation: typeof fetch = async (_url, init) => {
    assertions.push(new URLSearchParams(String(init?.body)).get('assertion') ?? '');
    const { status, body } = answers.shift() ?? {
      status: 200,
      body: { access_token: `token-${assertions.length}`, expires_in: HOUR_SECONDS, token_type: 'Bearer' },
    };
    return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });
  };
  return { assertions, fetch: fetchImplementation };
}

describe("tokens of Google for a service account's key", () => {
  it('are signed for, asked once however many calls wait, and then at hand', async () => {
    const server = tokenServer();
    const tokens = googleTokens({ fetch: server.fetch });
    expect(await Promise.all([tokens(KEY), tokens(KEY), tokens(KEY)])).toEqual(['token-1', 'token-1', 'token-1']);
    expect(tokens(KEY)).toBe('token-1');
    expect(server.assertions).toHaveLength(1);
    const [head = '', claims = '', signature = ''] = (server.assertions[0] ?? '').split('.');
    expect(verify('sha256', Buffer.from(`${head}.${claims}`), publicKey, Buffer.from(signature, 'base64url'))).toBe(
      true,
    );
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({
      iss: account.client_email,
      scope: 'https://www.googleapis.com/auth/cloud-platform',
    });
  });

  it('are renewed ahead of their end, while the old one still serves', async () => {
    const short = { access_token: 'token-1', expires_in: 200, token_type: 'Bearer' };
    const server = tokenServer([{ status: 200, body: short }]);
    const tokens = googleTokens({ fetch: server.fetch });
    await tokens(KEY);
    expect(tokens(KEY)).toBe('token-1');
    await vi.waitFor(() => expect(tokens(KEY)).toBe('token-2'));
    expect(server.assertions).toHaveLength(2);
  });

  it('are a fault when Google gives none, and asked for again by the next call', async () => {
    const server = tokenServer([{ status: 400, body: { error: 'invalid_grant' } }]);
    const tokens = googleTokens({ fetch: server.fetch });
    await expect(tokens(KEY)).rejects.toMatchObject({ code: 'upstream_unauthorized' });
    expect(await tokens(KEY)).toBe('token-2');
  });

  it.each(['not base64 of JSON', Buffer.from('{"type":"user"}').toString('base64')])(
    'are not to be had for a key that is none (%s)',
    async (key) => {
      await expect(googleTokens()(key)).rejects.toMatchObject({ code: 'upstream_unauthorized' });
    },
  );
});
