import type { KeyPolicy } from '#core/key-policy.ts';
import type { MaybePromise } from '../limits/counters.ts';

/**
 * The port to the key policies: a look-up in memory, without parsing, and without waiting but for limits that have to be
 * made ready first. What is behind it keeps the copy fresh. The plain secret never gets here.
 */
export interface Policies {
  /**
   * By the SHA-256 of the secret, lower-case hex. Revoked and expired keys are found too: the caller says so. Rejects with
   * `limits_unavailable`.
   */
  find(secretHash: string): MaybePromise<KeyPolicy | undefined>;
}
