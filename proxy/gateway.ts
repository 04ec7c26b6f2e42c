import type { Config } from '#config/config.ts';
import { Fault, faultOf } from '#core/fault.ts';
import { newId } from '#core/id.ts';
import { type KeyPolicy, modelAllowed } from '#core/key-policy.ts';
import type { Clock } from '#core/time.ts';
import { checkKey, getSecret, labelsOf, queryWithoutSecret, textHeader } from './caller.ts';
import { costOfCall, worstCaseOf } from './cost.ts';
import { type Ending, measure } from './ending.ts';
import { unknownEvent, usageEvent } from './event.ts';
import { Exchange, type ExchangeEnd } from './exchange.ts';
import { type Admitted, Flight } from './flight.ts';
import { headerOf, requestHeaders, responseHeaders } from './headers.ts';
import type { Call, HeaderMap, Reply } from './inbound/call.ts';
import type { Counters, MaybePromise, Refused, Reservation } from './limits/counters.ts';
import { holdsFor, refusalOf, usedOf } from './limits/policy.ts';
import type { Observer } from './observer.ts';
import type { Policies } from './policies/policies.ts';
import { backoffMs, isRetriable, retryAfterMs } from './retry.ts';
import { type Endpoint, getEndpoint, MODEL_PATH } from './routes.ts';
import type { Opening, Sink } from './sink/sink.ts';
import { traceOf } from './trace.ts';
import { type Route, RouteTable, type Target, targetsOf } from './upstream/route-table.ts';
import type { Upstream, UpstreamFailure } from './upstream/upstream.ts';
import { encodeUtf8 } from './wire/bytes.ts';
import { type ErrorAnswer, faultAnswer, refusalAnswer } from './wire/openai-error.ts';
import { modelAnswer, modelListAnswer } from './wire/openai-models.ts';
import type { Asked, Meter, Wire } from './wire/wire.ts';

/**
 * The request path, and every branch of it: who calls, what for, where to, held, opened, sent, passed on, settled.
 *
 * A main builds it from its parts, gives each inbound call to `handle`, each new configuration to `use`, and calls
 * `drain` before it leaves:
 *
 *     const gateway = new Gateway({ config, policies, counters, sink, upstream, observer, hash, ready, clock, random });
 *     const listener = await listen(gateway, config.gateway);   // inbound/node.ts
 */
export interface GatewayParts {
  config: Config;
  policies: Policies;
  counters: Counters;
  sink: Sink;
  upstream: Upstream;
  observer: Observer;
  /** SHA-256 of a secret as lower-case hex. */
  hash: (secret: string) => MaybePromise<string>;
  /** What `/readyz` says while the gateway takes calls. */
  ready: () => MaybePromise<boolean>;
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
}

/** A hold outlives its call by this much, so that no lease ends under a call that is about to settle. */
const LEASE_MARGIN_MS = 60_000;
/** An upstream's answer to a credential that it does not take. */
const CREDENTIAL_REFUSED = 401;

interface Snapshot {
  readonly config: Config;
  readonly routes: RouteTable;
}

export class Gateway {
  readonly #parts: GatewayParts;
  #snapshot: Snapshot;
  readonly #flights = new Set<Flight>();
  #drains = 0;
  #draining = false;
  #onEmpty: (() => void) | undefined;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#snapshot = snapshotOf(parts.config);
  }

  /** Calls that begin from now on; those in flight keep what they began with. */
  use(config: Config): void {
    this.#snapshot = snapshotOf(config);
  }

  get callsInFlight(): number {
    return this.#flights.size;
  }

  /** Takes no new calls, lets open ones finish within the bound, cuts the rest, and returns when all usage is durable. */
  async drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    if (this.#flights.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onEmpty = resolve;
      const timer = setTimeout(() => {
        for (const flight of this.#flights) {
          flight.stop('shutdown');
          if (!flight.exchange) flight.reply.cut();
        }
      }, timeoutMs);
      await promise;
      clearTimeout(timer);
    }
    await this.#parts.sink.drain();
  }

  /** Answers one call. Never throws and never rejects: whatever goes wrong is an answer, or a cut connection. */
  async handle(call: Call, reply: Reply): Promise<void> {
    const nowMs = this.#parts.clock();
    const flight = new Flight(newId('req', nowMs), nowMs, call, reply);
    this.#flights.add(flight);
    try {
      await this.#answer(flight, this.#snapshot);
    } catch (thrown) {
      this.#fail(flight, faultOf(thrown));
    } finally {
      this.#flights.delete(flight);
      if (this.#flights.size === 0) this.#onEmpty?.();
    }
  }

  async #answer(flight: Flight, snapshot: Snapshot): Promise<void> {
    const { call } = flight;
    const endpoint = getEndpoint(call.method, call.path);
    if (endpoint.kind === 'health') return this.#tell(flight, 200, { status: 'ok' });
    if (endpoint.kind === 'ready') return this.#answerReady(flight);
    if (this.#draining) throw new Fault('shutting_down');
    if (this.#flights.size > snapshot.config.gateway.callsMax) throw new Fault('overloaded');
    const policy = await this.#authenticate(flight);
    if (endpoint.kind === 'wire') return this.#proxy(flight, snapshot, policy, endpoint.wire);
    return this.#answerModels(flight, snapshot, policy, endpoint);
  }

  async #authenticate({ call, atMs }: Flight): Promise<KeyPolicy> {
    const hash = await this.#parts.hash(getSecret(call));
    return checkKey(this.#parts.policies.find(hash), atMs);
  }

  // --- A metered call -------------------------------------------------------------------------------------------

  async #proxy(flight: Flight, snapshot: Snapshot, policy: KeyPolicy, wire: Wire): Promise<void> {
    const { call, reply } = flight;
    const { gateway } = snapshot.config;
    reply.onGone(() => this.#clientGone(flight, gateway));
    reply.onDrain(() => flight.exchange?.resume());

    const encoding = headerOf(call.headers, 'content-encoding');
    if (encoding !== undefined && encoding !== 'identity') {
      throw new Fault('invalid_request', { detail: 'A compressed body is not taken.' });
    }
    const body = await call.body(gateway.bodyBytesMax, gateway.bodyTimeoutMs);
    if (body === undefined) return;
    const asked = wire.parse(body);
    const route = this.#route(snapshot, policy, asked);
    const admitted = this.#prepare(flight, snapshot.config, policy, wire, body, asked, route);
    if (!(await this.#reserve(flight, admitted))) return;
    const opening = await this.#open(flight, admitted);
    // From here on the call is on record, and there are two ways out: given up before anything was sent, or finished.
    if (flight.stopped || flight.gone) return this.#parts.sink.abandon(opening);
    await this.#finish(flight, admitted, await this.#send(flight, admitted));
  }

  #route(snapshot: Snapshot, policy: KeyPolicy, asked: Asked): Route {
    if (!modelAllowed(policy.models, asked.model)) throw new Fault('model_not_allowed');
    const route = snapshot.routes.find(asked.model);
    if (!route) throw new Fault('model_not_found');
    return route;
  }

  #prepare(
    flight: Flight,
    config: Config,
    policy: KeyPolicy,
    wire: Wire,
    body: Uint8Array,
    asked: Asked,
    route: Route,
  ): Admitted {
    const { id, atMs, call } = flight;
    const { headers } = call;
    const targets = targetsOf(route, this.#parts.random());
    const worst = worstCaseOf(asked, targets, config, atMs);
    const reservation: Reservation = {
      id,
      customer: policy.customer,
      atMs,
      leaseMs: config.gateway.callTimeoutMs + LEASE_MARGIN_MS,
      holds: holdsFor(policy, worst, atMs),
    };
    return {
      config,
      policy,
      wire,
      endpoint: call.path,
      body,
      asked,
      seen: {
        id,
        atMs,
        customer: policy.customer,
        key: policy.key,
        wire: wire.name,
        model: asked.model,
        stream: asked.stream,
        trace: traceOf(headers),
      },
      user: textHeader(headers, 'x-weir-user') ?? asked.user,
      session: textHeader(headers, 'x-weir-session') ?? asked.session,
      labels: labelsOf(headers, policy),
      targets,
      worst,
      reservation,
    };
  }

  /** False when a limit refused: then the client has been told. */
  async #reserve(flight: Flight, admitted: Admitted): Promise<boolean> {
    if (admitted.reservation.holds.length === 0) return true;
    const answer = await this.#parts.counters.reserve(admitted.reservation);
    if (!answer.admitted) this.#refuse(flight, admitted, answer);
    return answer.admitted;
  }

  async #open(flight: Flight, admitted: Admitted): Promise<Opening> {
    const { reservation } = admitted;
    let opening: Opening;
    try {
      const { event, measured, cost } = unknownEvent(flight, admitted);
      opening = {
        reservation,
        estimate: event,
        estimatedUse: usedOf(admitted.policy, measured.counts, cost.nanos, admitted.worst),
      };
      await this.#parts.sink.open(opening);
    } catch (thrown) {
      await this.#parts.counters.release(reservation);
      throw thrown;
    }
    this.#parts.observer.callStarted(admitted.seen);
    return opening;
  }

  /** Attempts, one after the other, until one has an answer for the client or none is left. Never rejects. */
  async #send(flight: Flight, admitted: Admitted): Promise<Ending> {
    const deadline = setTimeout(() => flight.stop('deadline'), admitted.config.gateway.callTimeoutMs);
    try {
      for (let n = 0; ; n++) {
        const { end, retryInMs } = await this.#attempt(flight, admitted, n);
        if (end.kind === 'answered') return end;
        if (flight.stopped) {
          return {
            kind: 'stopped',
            why: flight.stopped,
            sent: true,
            reading: end.kind === 'broken' ? end.reading : null,
          };
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

  async #attempt(
    flight: Flight,
    admitted: Admitted,
    n: number,
  ): Promise<{ end: ExchangeEnd; retryInMs?: number | undefined }> {
    const { clock, upstream } = this.#parts;
    const { targets, asked, wire, body, config } = admitted;
    const target = targets[n % targets.length] as Target;
    const startMs = clock();
    const includeUsage = target.upstream.includeUsage && asked.stream;
    let status: number | null = null;
    let retryInMs: number | undefined;

    const exchange = new Exchange(
      flight.reply,
      (answered, headers) => {
        status = answered;
        const another = isRetriable(answered) || (answered === CREDENTIAL_REFUSED && n + 1 < targets.length);
        if (another) retryInMs = this.#waitBefore(n + 1, flight, admitted, retryAfterMs(headers, clock()));
        if (retryInMs !== undefined || !isForClient(answered)) return undefined;
        return this.#passOn(flight, admitted, answered, headers, includeUsage && !asked.usageAsked);
      },
      () => {
        flight.firstBytesMs ??= clock();
      },
    );
    flight.target = target;
    flight.exchange = exchange;
    exchange.start(
      upstream.send(
        {
          method: 'POST',
          origin: target.origin,
          path: pathOf(target, wire, flight.call),
          headers: requestHeaders(flight.call.headers, target.upstream, admitted.seen.trace),
          body: wire.rewrite(body, asked, { model: target.model, includeUsage }),
          connectTimeoutMs: config.gateway.connectTimeoutMs,
          headersTimeoutMs: config.gateway.headersTimeoutMs,
          idleTimeoutMs: config.gateway.idleTimeoutMs,
          connectionsMax: config.gateway.upstreamConnectionsMax,
        },
        exchange,
      ),
    );
    const end = await exchange.ended;
    flight.attempts.push({ upstream: target.upstream.name, status, duration_ms: Math.max(0, clock() - startMs) });
    if (end.kind === 'failed' && !flight.stopped) retryInMs = this.#waitBefore(n + 1, flight, admitted, null);
    return { end, retryInMs };
  }

  /** How long to wait before the n-th attempt (the first is 0); undefined when there shall be none. */
  #waitBefore(n: number, flight: Flight, { targets, config }: Admitted, wishMs: number | null): number | undefined {
    if (n > config.gateway.retriesMax || flight.gone || flight.stopped || this.#draining) return undefined;
    // Another upstream is asked at once, one that has been asked before only after a while.
    const round = Math.floor(n / targets.length);
    if (round === 0) return 0;
    const waitMs = backoffMs(round - 1, targets.length === 1 ? wishMs : null, this.#parts.random());
    const leftMs = flight.atMs + config.gateway.callTimeoutMs - this.#parts.clock();
    return waitMs !== undefined && waitMs < leftMs ? waitMs : undefined;
  }

  /** The answer that the client gets: its head goes out, and its meter says what becomes of the rest. */
  #passOn(flight: Flight, admitted: Admitted, status: number, headers: HeaderMap, hideUsage: boolean): Meter {
    const eventStream = (headerOf(headers, 'content-type') ?? '').startsWith('text/event-stream');
    const meter = admitted.wire.meter(admitted.asked, { eventStream, hideUsage });
    flight.status = status;
    flight.reply.head(status, responseHeaders(headers, flight.id, meter.edits));
    return meter;
  }

  #clientGone(flight: Flight, { onDisconnect, drainsMax, drainTimeoutMs }: Config['gateway']): void {
    if (flight.over) return;
    flight.gone = true;
    if (!flight.exchange || onDisconnect === 'cancel' || this.#drains >= drainsMax) {
      flight.stop('gone');
      return;
    }
    this.#drains++;
    flight.drainTimer = setTimeout(() => flight.stop('gone'), drainTimeoutMs);
    flight.exchange.resume();
  }

  /** The only place where a call that was opened ends: the client is told, the limits are settled, the event is kept. */
  async #finish(flight: Flight, admitted: Admitted, ending: Ending): Promise<void> {
    const { clock, sink, observer } = this.#parts;
    const { asked, config, reservation } = admitted;
    flight.over = true;
    if (flight.drainTimer !== undefined) {
      clearTimeout(flight.drainTimer);
      this.#drains--;
    }
    this.#tellEnding(flight, ending);
    const measured = measure(ending, asked, admitted.worst.outputTokens);
    const reading = 'reading' in ending ? ending.reading : null;
    const served = { model: reading?.model ?? null, tier: reading?.serviceTier ?? null };
    const cost = costOfCall(measured.counts, flight.target, asked, served, config, flight.atMs);
    const event = usageEvent(flight, admitted, measured, cost, served, clock());
    await sink.close({
      reservation,
      used: usedOf(admitted.policy, measured.counts, cost.nanos, admitted.worst),
      event,
    });
    observer.callEnded(admitted.seen, event, flight.gone ? null : flight.status);
  }

  /** What an ending still owes the client; an answer that came to its end has been passed on already. */
  #tellEnding(flight: Flight, ending: Ending): void {
    if (ending.kind === 'answered') return;
    const fault = faultOfEnding(ending);
    const words = flight.status === null ? undefined : flight.exchange?.breakOff(fault.message, fault.code);
    if (!words) {
      this.#fail(flight, fault);
      return;
    }
    this.#parts.observer.faulted(fault, flight.id);
    flight.reply.end(words);
  }

  // --- Answers of our own ---------------------------------------------------------------------------------------

  #refuse(flight: Flight, admitted: Admitted, refused: Refused): void {
    const refusal = refusalOf(admitted.policy, admitted.reservation.holds, refused);
    this.#parts.observer.callRefused(admitted.seen, { code: refusal.code, limit: refusal.limit.id });
    this.#reply(flight, refusalAnswer(refusal, flight.id, admitted.config.gateway.budgetStatus402));
  }

  #fail(flight: Flight, fault: Fault): void {
    this.#parts.observer.faulted(fault, flight.id);
    if (flight.status === null) this.#reply(flight, faultAnswer(fault, flight.id));
    else flight.reply.cut();
  }

  #answerModels(flight: Flight, { routes }: Snapshot, policy: KeyPolicy, endpoint: Endpoint): void {
    const may = (model: string): boolean => modelAllowed(policy.models, model);
    if (endpoint.kind === 'models') {
      this.#tell(flight, 200, modelListAnswer(routes.listModels().filter(may), routes));
      return;
    }
    const model = modelOfPath(flight.call.path);
    if (!may(model) || !routes.find(model)) throw new Fault('model_not_found');
    this.#tell(flight, 200, modelAnswer(model, routes));
  }

  async #answerReady(flight: Flight): Promise<void> {
    const ready = !this.#draining && (await this.#parts.ready());
    this.#tell(flight, ready ? 200 : 503, { status: ready ? 'ready' : this.#draining ? 'draining' : 'not ready' });
  }

  #tell(flight: Flight, status: number, body: unknown): void {
    const headers = ['content-type', 'application/json', 'x-request-id', flight.id];
    this.#reply(flight, { status, headers, body: encodeUtf8(`${JSON.stringify(body)}\n`) });
  }

  #reply(flight: Flight, { status, headers, body }: ErrorAnswer): void {
    flight.status = status;
    const connection = this.#draining ? ['connection', 'close'] : [];
    flight.reply.head(status, [...headers, ...connection, 'content-length', String(body.length)]);
    flight.reply.end(body);
  }
}

function snapshotOf(config: Config): Snapshot {
  return { config, routes: new RouteTable(config) };
}

function pathOf({ basePath }: Target, wire: Wire, call: Call): string {
  const query = queryWithoutSecret(call.query);
  return `${basePath}${wire.path}${query === '' ? '' : `?${query}`}`;
}

/** Null where the name is badly encoded: then it is no model. */
function modelOfPath(path: string): string {
  try {
    return decodeURIComponent(path.slice(MODEL_PATH.length));
  } catch {
    return '';
  }
}

/**
 * A refused credential is ours, not the caller's, and the text around it may quote it. A redirect would lead the caller
 * around the gateway.
 */
function isForClient(status: number): boolean {
  return status !== CREDENTIAL_REFUSED && (status < 300 || status >= 400);
}

function faultOfAttempt(end: ExchangeEnd): Fault {
  if (end.kind === 'discarded') {
    return new Fault(end.status === CREDENTIAL_REFUSED ? 'upstream_unauthorized' : 'upstream_invalid', {
      story: `status ${end.status}`,
    });
  }
  return end.kind === 'failed' || end.kind === 'broken' ? faultOfFailure(end.failure) : new Fault('internal');
}

const FAILURES = {
  unreachable: 'upstream_unreachable',
  timeout: 'upstream_timeout',
  broken: 'upstream_broken',
  invalid: 'upstream_invalid',
  aborted: 'upstream_broken',
} as const;

function faultOfFailure({ kind, cause }: UpstreamFailure): Fault {
  return new Fault(FAILURES[kind], { cause });
}

function faultOfEnding(ending: Exclude<Ending, { kind: 'answered' }>): Fault {
  if (ending.kind === 'unanswered') return ending.fault;
  if (ending.kind === 'broken') return faultOfFailure(ending.failure);
  return new Fault(ending.why === 'shutdown' ? 'shutting_down' : 'upstream_timeout', { story: ending.why });
}
