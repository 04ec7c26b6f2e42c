import type { AuthClient } from 'google-auth-library';
import { Fault } from '#core/fault.ts';
import { isObject } from '../wire/bytes.ts';
import type { GoogleTokens } from './credential.ts';

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
/** A token lives an hour; within so much of its end the next is asked for, while this one still serves. */
const AHEAD_MS = 5 * 60_000;
/** A call takes a moment to get there. */
const MARGIN_MS = 30_000;

/**
 * Tokens by Google's own library: of a service account, of a workload identity, of the machine. One for each account,
 * asked for once however many calls wait, and renewed ahead of its end, so that a call waits for the first alone.
 */
export function googleTokens(options: { fetch?: typeof fetch; now?: () => number } = {}): GoogleTokens {
  const { now = Date.now, fetch: fetchImplementation } = options;
  const accounts = new Map<string | null, Account>();

  interface Account {
    client: Promise<AuthClient>;
    token: string;
    endsMs: number;
    asking: Promise<string> | undefined;
  }

  function ask(account: Account): Promise<string> {
    account.asking ??= renew(account).finally(() => {
      account.asking = undefined;
    });
    return account.asking;
  }

  async function renew(account: Account): Promise<string> {
    try {
      const client = await account.client;
      const { token } = await client.getAccessToken();
      if (!token) throw new Error('it gave none');
      account.token = token;
      account.endsMs = client.credentials.expiry_date ?? now() + AHEAD_MS;
      return token;
    } catch (cause) {
      if (cause instanceof Fault) throw cause;
      throw new Fault('upstream_unauthorized', { story: 'Google gave no token for the account.', cause });
    }
  }

  async function clientOf(key: string | null): Promise<AuthClient> {
    const clientOptions = {
      eagerRefreshThresholdMillis: AHEAD_MS,
      ...(fetchImplementation && { transporterOptions: { fetchImplementation } }),
    };
    // Loading it takes a tenth of a second and some megabytes: for those alone who have such an upstream.
    const { GoogleAuth, JWT } = await import('google-auth-library');
    if (key === null) return new GoogleAuth({ scopes: [SCOPE], clientOptions }).getClient();
    const { email, privateKey } = serviceAccountOf(key);
    return new JWT({ email, key: privateKey, scopes: [SCOPE], ...clientOptions });
  }

  function accountOf(key: string | null): Account {
    let account = accounts.get(key);
    if (!account) {
      const client = clientOf(key);
      // The machine's own account may be there the next time.
      client.catch(() => accounts.delete(key));
      account = { client, token: '', endsMs: 0, asking: undefined };
      accounts.set(key, account);
    }
    return account;
  }

  return (key) => {
    const account = accountOf(key);
    const leftMs = account.endsMs - now();
    if (leftMs <= MARGIN_MS) return ask(account);
    // What fails then is asked again by the next call, and matters once this token has ended.
    if (leftMs <= AHEAD_MS) ask(account).catch(() => undefined);
    return account.token;
  };
}

/** Throws `upstream_unauthorized`: a key that is none must not look like one that Google refuses. */
function serviceAccountOf(key: string): { email: string; privateKey: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(key, 'base64').toString('utf8'));
  } catch (cause) {
    throw new Fault('upstream_unauthorized', { story: 'The key is no JSON in base64.', cause });
  }
  if (isObject(parsed) && typeof parsed.client_email === 'string' && typeof parsed.private_key === 'string') {
    return { email: parsed.client_email, privateKey: parsed.private_key };
  }
  throw new Fault('upstream_unauthorized', { story: "The key is no service account's." });
}
