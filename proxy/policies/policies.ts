import type { KeyPolicy } from '#core/key-policy.ts';

/**
 * The port to the key policies: a look-up in memory, without parsing and without waiting. What is behind it keeps the
 * copy fresh. The plain secret never gets here.
 */
export interface Policies {
  /** By the SHA-256 of the secret, lower-case hex. Revoked and expired keys are found too: the caller says so. */
  find(secretHash: string): KeyPolicy | undefined;
}
