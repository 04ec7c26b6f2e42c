import { reasonOf } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import type { PolicyFeed } from './feed.ts';
import { type PolicyChanges, parsePolicyChanges } from './parse.ts';
import { applyPolicyChanges, type PolicyTable } from './policy-table.ts';
import { loadSnapshot, type Snapshot, saveSnapshot } from './snapshot.ts';

export interface HttpFeedOptions {
  /** Billing's base address. */
  url: string;
  /** A token of the role `ingest`. */
  token: string;
  table: PolicyTable;
  log: Log;
  snapshot?: Snapshot;
  fetch?: typeof fetch;
  /** Doubles from the first to the last while billing is away. */
  retryMs?: { min: number; max: number };
}

/** Billing answers within 25 seconds when nothing changes; what takes longer is a connection that died unnoticed. */
const ANSWER_TIMEOUT_MS = 40_000;
const RETRY_MS = { min: 200, max: 5_000 };

/**
 * Follows billing's key policies over HTTP: asks for what changed after the version that it has, and is answered when
 * there is something. While billing is away or answers rubbish, everything stays as it was last known.
 */
export function followHttp(options: HttpFeedOptions): PolicyFeed {
  const { table, log, snapshot } = options;
  const retry = options.retryMs ?? RETRY_MS;
  const ended = new AbortController();
  const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();

  async function ask(version: string | undefined): Promise<PolicyChanges> {
    const query = version === undefined ? '' : `?after=${encodeURIComponent(version)}`;
    const response = await (options.fetch ?? fetch)(`${options.url}/v1/policies${query}`, {
      headers: { authorization: `Bearer ${options.token}` },
      signal: AbortSignal.any([ended.signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`billing answered ${response.status} when asked for key policies`);
    }
    const changes = parsePolicyChanges(await response.json());
    if (!changes) throw new Error('billing answered something that is no list of key policies');
    return changes;
  }

  async function apply(changes: PolicyChanges, version: string | undefined): Promise<void> {
    if (changes.ignored > 0) {
      log.warn({ ignored: changes.ignored }, 'key policies of a version that this gateway does not know are ignored');
    }
    applyPolicyChanges(table, changes);
    if (changes.version !== version) await saveSnapshot(snapshot, table, changes.version, log);
  }

  async function run(): Promise<void> {
    let version = await loadSnapshot(snapshot, table, log);
    if (table.list('billing').length > 0) isReady();
    let retryMs = retry.min;
    while (!ended.signal.aborted) {
      try {
        const changes = await ask(version);
        await apply(changes, version);
        version = changes.version;
        isReady();
        retryMs = retry.min;
      } catch (thrown) {
        if (ended.signal.aborted) return;
        log.warn(
          { error: reasonOf(thrown), retry_ms: retryMs },
          'key policies cannot be read from billing; keeping the last',
        );
        await pause(retryMs, ended.signal);
        retryMs = Math.min(retryMs * 2, retry.max);
      }
    }
  }

  const running = run();
  return {
    ready,
    close: async () => {
      ended.abort();
      await running;
    },
  };
}
