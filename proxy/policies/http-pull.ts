import type { Log } from '#core/log.ts';
import { parsePolicyChanges } from './parse.ts';
import { applyPolicyChanges, type PolicyTable } from './policy-table.ts';

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
 * Asks billing once for the key policies that changed after a version, or for all, and gives the version that it has now:
 * for a runtime in which nothing runs between calls. When billing is away or answers rubbish, everything stays as it was
 * last known.
 */
export async function pullPolicies(
  { url, token, table, fetch, log }: HttpPullOptions,
  version: string | undefined,
): Promise<string | undefined> {
  const after = version === undefined ? '' : `&after=${encodeURIComponent(version)}`;
  try {
    const response = await fetch(`${url}/v1/policies?wait_seconds=0${after}`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`billing answered ${response.status}`);
    }
    const changes = parsePolicyChanges(await response.json());
    if (!changes) throw new Error('billing answered something that is no list of key policies');
    if (changes.ignored > 0) {
      log.warn({ ignored: changes.ignored }, 'Key policies of a version that is not known here are ignored.');
    }
    applyPolicyChanges(table, changes);
    return changes.version;
  } catch (error) {
    log.warn({ err: error }, 'Key policies cannot be read from billing; keeping the last.');
    return version;
  }
}
