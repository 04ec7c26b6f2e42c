import type { Log } from '#core/log.ts';
import { parsePolicyChanges } from './parse.ts';
import type { PolicyTable } from './policy-table.ts';

export interface HttpPullOptions {
  /** Billing's base address. */
  url: string;
  /** A token of the role `ingest`. */
  token: string;
  table: PolicyTable;
  fetch: typeof fetch;
  log: Log;
}

const ANSWER_TIMEOUT_MS = 5_000;

/**
 * Reads all of billing's key policies once, for a runtime in which nothing runs between calls. When billing is away or
 * answers rubbish, everything stays as it was last known.
 */
export async function pullPolicies({ url, token, table, fetch, log }: HttpPullOptions): Promise<void> {
  try {
    const response = await fetch(`${url}/v1/policies`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    if (response.status !== 200) throw new Error(`billing answered ${response.status}`);
    const changes = parsePolicyChanges(await response.json());
    if (!changes?.reset) throw new Error('billing answered something that is no list of key policies');
    // What was ignored may be a newer form of a policy that we have, so the old one stays where nothing replaces it.
    if (changes.ignored > 0) table.change('billing', changes.policies, []);
    else table.replace('billing', changes.policies);
  } catch (error) {
    log.warn({ err: error }, 'Key policies cannot be read from billing; keeping the last.');
  }
}
