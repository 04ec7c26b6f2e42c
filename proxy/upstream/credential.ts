import { FAMILIES } from '#config/wires.ts';
import type { Target } from './route-table.ts';
import type { UpstreamRequest } from './upstream.ts';

/**
 * Puts the operator's credential on a request that is otherwise complete: some ways to do that sign all of it. A promise
 * where that takes time.
 */
export function authorize({ headers }: UpstreamRequest, { upstream, family }: Target): Promise<void> | undefined {
  const { credential } = upstream;
  if (credential === null) return undefined;
  const auth = upstream.auth ?? FAMILIES[family].auth;
  if (auth === 'bearer') headers.push('authorization', `Bearer ${credential}`);
  else headers.push(auth, credential);
  return undefined;
}
