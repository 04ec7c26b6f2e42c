import { FAMILIES, type WireFamily } from '#config/wires.ts';
import { Fault, faultOf } from '#core/fault.ts';
import type { Clock } from '#core/time.ts';
import type { Admitted } from './admission.ts';
import { queryForUpstream } from './caller.ts';
import { type Ending, faultOfFailure } from './ending.ts';
import { Exchange, type ExchangeEnd } from './exchange.ts';
import type { Flight } from './flight.ts';
import type { Halts } from './halts.ts';
import { encodingOf, requestHeaders, responseHeaders } from './headers.ts';
import type { Call, HeaderMap } from './inbound/call.ts';
import { addLimitHeaders } from './limit-headers.ts';
import type { Reserving } from './reserving/reserving.ts';
import { backoffMs, isRetriable, retryAfterMs } from './retry.ts';
import type { Match } from './routes.ts';
import { authorize, type GoogleTokens } from './upstream/credential.ts';
import type { Target } from './upstream/route-table.ts';
import type { Upstream, UpstreamRequest } from './upstream/upstream.ts';
import { decodedMeter } from './wire/decoded-meter.ts';
import type { Meter, RequestEdits } from './wire/wire.ts';

/** An upstream's answer to a credential that it does not take. */
const CREDENTIAL_REFUSED = 401;

export interface AttemptsParts {
  upstream: Upstream;
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
  /** For upstreams that take Google's tokens; without it none of them can be reached. */
  googleTokens?: GoogleTokens;
}

/**
 * The attempts of one call: retries and fallbacks, as long as the client has seen nothing. However many there are, the
 * call is one: one reservation, one event, one bill.
 */
export class Attempts {
  readonly #upstream: Upstream;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #googleTokens: GoogleTokens | undefined;
  readonly #halts: Halts;
  readonly #reserving: Reserving;
  /** False while the gateway drains: what fails then fails. */
  mayRepeat = true;

  constructor({ upstream, clock, random, googleTokens }: AttemptsParts, halts: Halts, reserving: Reserving) {
    this.#halts = halts;
    this.#reserving = reserving;
    this.#upstream = upstream;
    this.#clock = clock;
    this.#random = random;
    this.#googleTokens = googleTokens;
  }

  /** One after the other, until one has an answer for the client or none is left. Never rejects. */
  async send(flight: Flight, admitted: Admitted): Promise<Ending> {
    const deadline = setTimeout(() => flight.stop('deadline'), admitted.config.gateway.callTimeoutMs);
    try {
      for (let place = 0; ; place++) {
        const n = this.#nextPlace(admitted, place);
        if (n === undefined) return { kind: 'unanswered', fault: new Fault('model_halted') };
        place = n;
        const { end, retryInMs } = await this.#attempt(flight, admitted, n);
        if (end.kind === 'answered') return end;
        if (flight.stopped) {
          const reading = end.kind === 'broken' ? end.reading : null;
          const counted = reading && flight.roll?.isOver ? await flight.roll.count(reading) : undefined;
          return { kind: 'stopped', why: flight.stopped, sent: true, reading, counted };
        }
        if (end.kind === 'broken') return end;
        if (retryInMs === undefined) return { kind: 'unanswered', fault: faultOfAttempt(end) };
        flight.exchange = null;
        await flight.wait(retryInMs);
        if (flight.stopped) return { kind: 'stopped', why: flight.stopped, sent: false, reading: null };
      }
    } catch (thrown) {
      flight.exchange?.stop();
      return { kind: 'unanswered', fault: faultOf(thrown) };
    } finally {
      clearTimeout(deadline);
    }
  }

  /** From this attempt on the first whose target has not been halted since the call was routed; undefined where all have. */
  #nextPlace({ policy, asked, targets }: Admitted, from: number): number | undefined {
    for (let n = from; n < from + targets.length; n++) {
      if (!this.#halts.findTarget({ policy, model: asked.model }, targets[n % targets.length] as Target)) return n;
    }
    return undefined;
  }

  async #attempt(flight: Flight, admitted: Admitted, n: number): Promise<AttemptEnd> {
    const { targets, asked, wire, body, config } = admitted;
    const target = targets[n % targets.length] as Target;
    const startMs = this.#clock();
    const includeUsage = target.upstream.includeUsage && asked.stream;
    let status: number | null = null;
    let retryInMs: number | undefined;
    let wholeHeld: Promise<void> | undefined;

    const readHead = (answered: number, headers: HeaderMap): Meter | undefined => {
      status = answered;
      if ((isRetriable(answered) && !asked.once) || (answered === CREDENTIAL_REFUSED && n + 1 < targets.length)) {
        retryInMs = this.#waitBefore(n + 1, flight, admitted, retryAfterMs(headers, this.#clock()));
      }
      if (retryInMs !== undefined || !isForClient(answered)) return undefined;
      const meter = passOn(flight, admitted, answered, headers, includeUsage && !asked.usageAsked);
      if (admitted.part !== null && answered < 400)
        wholeHeld = this.#holdInParts(flight, admitted, target, exchange, meter);
      return meter;
    };
    const exchange = new Exchange(flight.reply, readHead, () => {
      flight.firstBytesMs ??= this.#clock();
      flight.onBytes?.();
    });
    flight.target = target;
    flight.exchange = exchange;
    const request: UpstreamRequest = {
      method: flight.call.method,
      origin: target.origin,
      path: pathOf(target, admitted.match, flight.call),
      headers: requestHeaders(flight.call.headers, target, admitted.seen.trace),
      body: body.length === 0 ? null : wire.rewrite(body, asked, editsOf(admitted, target, includeUsage)),
      connectTimeoutMs: config.gateway.connectTimeoutMs,
      headersTimeoutMs: config.gateway.headersTimeoutMs,
      idleTimeoutMs: config.gateway.idleTimeoutMs,
      connectionsMax: config.gateway.upstreamConnectionsMax,
    };
    try {
      const signing = authorize(request, target, this.#googleTokens);
      if (signing !== undefined) await signing;
    } catch (thrown) {
      // As if the upstream had refused the credential: the next one may have a better.
      if (n + 1 >= targets.length) throw thrown;
      flight.attempts.push({ upstream: target.upstream.name, status, duration_ms: this.#clock() - startMs });
      const end = { kind: 'discarded', status: CREDENTIAL_REFUSED } as const;
      return { end, retryInMs: this.#waitBefore(n + 1, flight, admitted, null) };
    }
    exchange.start(this.#upstream.send(request, exchange));
    const end = await exchange.ended;
    // Else it could be said after the call was settled, or leave what it holds half said.
    if (wholeHeld !== undefined) await wholeHeld;
    const durationMs = Math.max(0, this.#clock() - startMs);
    flight.attempts.push({ upstream: target.upstream.name, status, duration_ms: durationMs });
    if (end.kind === 'failed' && !(asked.once && end.failure.kind !== 'unreachable'))
      retryInMs = this.#waitBefore(n + 1, flight, admitted, null);
    return { end, retryInMs };
  }

  #holdInParts(
    flight: Flight,
    admitted: Admitted,
    target: Target,
    exchange: Exchange,
    { shown }: Meter,
  ): Promise<void> | undefined {
    // No stream after all: what it is shows when it is over.
    if (!shown) return this.#reserving.holdWhole(flight, admitted);
    flight.roll = this.#reserving.roll(flight, admitted, target.model ?? admitted.asked.model);
    exchange.roll = { roll: flight.roll, shown, over: (why) => flight.stop(why) };
    return undefined;
  }

  /** How long to wait before the n-th attempt (the first is 0); undefined when there shall be none. */
  #waitBefore(place: number, flight: Flight, admitted: Admitted, wishMs: number | null): number | undefined {
    const { targets, config } = admitted;
    const n = this.#nextPlace(admitted, place) ?? place;
    if (n > config.gateway.retriesMax || !this.mayRepeat) return undefined;
    if (flight.gone || flight.stopped || flight.isLast) return undefined;
    // Another upstream is asked at once, one that has been asked before only after a while.
    const round = Math.floor(n / targets.length);
    if (round === 0) return 0;
    const waitMs = backoffMs(round - 1, targets.length === 1 ? wishMs : null, this.#random());
    const leftMs = flight.atMs + config.gateway.callTimeoutMs - this.#clock();
    return waitMs !== undefined && waitMs < leftMs ? waitMs : undefined;
  }
}

interface AttemptEnd {
  readonly end: ExchangeEnd;
  /** Set when there is to be another attempt. */
  readonly retryInMs: number | undefined;
}

/** The answer that the client gets: its head goes out, and its meter says what becomes of the rest. */
function passOn(flight: Flight, admitted: Admitted, status: number, headers: HeaderMap, hideUsage: boolean): Meter {
  const { wire, asked } = admitted;
  const inParts = admitted.part !== null;
  const encoding = encodingOf(headers);
  const from = flight.target;
  const meter =
    encoding === undefined
      ? wire.meter(asked, { status, headers, from, hideUsage, inParts })
      : decodedMeter(wire.meter(asked, { status, headers, from, hideUsage: false }), encoding);
  flight.status = status;
  const told = wire.answerHeaders ? wire.answerHeaders(headers, flight.call, from) : headers;
  const passing = responseHeaders(told, flight.id, wire.dialect.requestIdHeader, meter.edits);
  addLimitHeaders(passing, admitted);
  flight.reply.head(status, passing);
  return meter;
}

function editsOf({ outputEach }: Admitted, { model }: Target, includeUsage: boolean): RequestEdits {
  return { model, includeUsage, ...(outputEach !== null && { outputTokensMax: outputEach }) };
}

/**
 * A refused credential is ours, not the caller's, and the text around it may quote it. A redirect would lead the caller
 * around the gateway.
 */
function isForClient(status: number): boolean {
  return status !== CREDENTIAL_REFUSED && (status < 300 || status >= 400);
}

/** The path and query of a call as its upstream knows them. */
export function pathOf(target: Target, { endpoint, params, path }: Match, call: Call): string {
  const renamed = target.model !== null && endpoint.kind === 'wire' && params.model !== undefined;
  const asked = renamed ? endpoint.pattern.fill({ ...params, model: encodeURIComponent(target.model) }) : path;
  const query = queryForUpstream(call.query, target.family);
  const whole = `${target.basePath}${below(asked, target.family)}`;
  return `${whole === '' ? '/' : whole}${query === '' ? '' : `?${query}`}`;
}

/** A path as callers ask for it, below the address of an upstream of that family. */
export function below(path: string, family: WireFamily): string {
  const { prefix, otherPrefix } = FAMILIES[family];
  if (typeof prefix !== 'string') return path.replace(prefix, '');
  if (path.startsWith(prefix)) return path.slice(prefix.length);
  return otherPrefix !== undefined && path.startsWith(otherPrefix) ? path.slice(otherPrefix.length) : path;
}

function faultOfAttempt(end: Extract<ExchangeEnd, { kind: 'discarded' | 'failed' }>): Fault {
  if (end.kind === 'failed') return faultOfFailure(end.failure);
  const code = end.status === CREDENTIAL_REFUSED ? 'upstream_unauthorized' : 'upstream_invalid';
  return new Fault(code, { story: `status ${end.status}` });
}
