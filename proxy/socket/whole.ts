import { faultOfFailure } from '../ending.ts';
import type { HeaderMap } from '../inbound/call.ts';
import type { Upstream, UpstreamRequest } from '../upstream/upstream.ts';
import { concat } from '../wire/bytes.ts';

export interface WholeAnswer {
  readonly status: number;
  readonly headers: HeaderMap;
  readonly body: Uint8Array;
}

/** The answer to a request whose parts are of no use. Rejects with the Fault of a failure. */
export function askWhole(upstream: Upstream, request: UpstreamRequest): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let status = 0;
    let headers: HeaderMap = {};
    upstream.send(request, {
      head(answered, said) {
        status = answered;
        headers = said;
      },
      data: (chunk) => chunks.push(chunk),
      end: () => resolve({ status, headers, body: concat(chunks) }),
      failed: (failure) => reject(faultOfFailure(failure)),
    });
  });
}
