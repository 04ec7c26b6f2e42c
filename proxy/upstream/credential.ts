import { FAMILIES } from '#config/wires.ts';
import { Fault } from '#core/fault.ts';
import { signForAws } from './aws-signature.ts';
import type { Target } from './route-table.ts';
import type { UpstreamRequest } from './upstream.ts';

/**
 * A token that Google gives for a service account's key (in base64), or for the machine's own account where that is
 * null. At once where one is at hand. Throws the Fault `upstream_unauthorized`.
 */
export type GoogleTokens = (key: string | null) => string | Promise<string>;

/**
 * Puts the operator's credential on a request that is otherwise complete: some ways to do that sign all of it. A promise
 * where that takes time.
 */
export function authorize(
  request: UpstreamRequest,
  { upstream, family }: Target,
  googleTokens: GoogleTokens | undefined,
): Promise<void> | undefined {
  const { headers } = request;
  const { credential } = upstream;
  const auth = upstream.auth ?? FAMILIES[family].auth;
  if (auth === 'google') {
    if (!googleTokens)
      throw new Fault('upstream_unauthorized', { story: 'Tokens of Google are to be had on Node only.' });
    const token = googleTokens(credential);
    if (typeof token !== 'string') return token.then((later) => putBearer(headers, later));
    putBearer(headers, token);
  } else if (auth === 'aws') {
    return signForAws(request, credential ?? '', upstream.region);
  } else if (credential !== null) {
    if (auth === 'bearer') putBearer(headers, credential);
    else headers.push(auth, credential);
  }
  return undefined;
}

function putBearer(headers: string[], token: string): void {
  headers.push('authorization', `Bearer ${token}`);
}
