import type { Config } from '#config/config.ts';
import type { Clock } from '#core/time.ts';
import { below } from '../attempts.ts';
import { Exchange, type ExchangeEnd } from '../exchange.ts';
import { encodingOf, requestHeaders } from '../headers.ts';
import type { Reply } from '../inbound/call.ts';
import { traceOf } from '../trace.ts';
import { authorize, type GoogleTokens } from '../upstream/credential.ts';
import type { Target } from '../upstream/route-table.ts';
import type { Upstream, UpstreamRequest } from '../upstream/upstream.ts';
import { encodeUtf8 } from '../wire/bytes.ts';
import { decodedMeter } from '../wire/decoded-meter.ts';
import type { AnswerHead, Meter } from '../wire/wire.ts';

export interface LookingParts {
  readonly upstream: Upstream;
  readonly clock: Clock;
  readonly googleTokens?: GoogleTokens | undefined;
}

/** Asks for something of an upstream that nobody waits for, with the operator's credential, and reads it by a meter. */
export type Ask = (path: string, meterOf: (answer: AnswerHead) => Meter, body?: object) => Promise<ExchangeEnd>;

/** Nothing is made for the asking, so an answer is there at once. */
const LOOK_TIMEOUT_MS = 30_000;

const JSON_BODY = { 'content-type': 'application/json' };

/** Nobody. */
const NOBODY: Reply = {
  head: () => undefined,
  write: () => true,
  end: () => undefined,
  cut: () => undefined,
  onDrain: () => undefined,
  onGone: () => undefined,
};

/** `path` is as callers ask for it. The signal stops what is on its way. */
export function askOf(
  parts: LookingParts,
  target: Target,
  query: string,
  gateway: Config['gateway'],
  signal: AbortSignal,
): Ask {
  return async (path, meterOf, body) => {
    const exchange = new Exchange(
      NOBODY,
      (status, headers) => {
        if (status >= 300) return undefined;
        const meter = meterOf({ status, headers, from: target, hideUsage: false });
        const encoding = encodingOf(headers);
        return encoding === undefined ? meter : decodedMeter(meter, encoding);
      },
      () => undefined,
    );
    const request: UpstreamRequest = {
      method: body ? 'POST' : 'GET',
      origin: target.origin,
      path: `${target.basePath}${below(path, target.family)}${query === '' ? '' : `?${query}`}`,
      headers: requestHeaders(body ? JSON_BODY : {}, target, traceOf({})),
      body: body ? encodeUtf8(JSON.stringify(body)) : null,
      connectTimeoutMs: gateway.connectTimeoutMs,
      headersTimeoutMs: Math.min(gateway.headersTimeoutMs, LOOK_TIMEOUT_MS),
      idleTimeoutMs: Math.min(gateway.idleTimeoutMs, LOOK_TIMEOUT_MS),
      connectionsMax: gateway.upstreamConnectionsMax,
    };
    const signing = authorize(request, target, parts.googleTokens);
    if (signing !== undefined) await signing;
    const stop = (): void => exchange.stop();
    signal.addEventListener('abort', stop);
    try {
      if (signal.aborted) stop();
      exchange.start(parts.upstream.send(request, exchange));
      return await exchange.ended;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  };
}
