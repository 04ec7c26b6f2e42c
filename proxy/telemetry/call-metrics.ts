import type { Attributes } from '@opentelemetry/api';
import type { UpstreamConfig } from '#config/config.ts';
import type { Outcome, UsageEventData, UsageStatus } from '#core/usage-event.ts';
import { attributesOf, errorTypeOf, type Modality, type TokenUsage, totalOf } from './inference.ts';
import { type Distribution, type Family, type MetricStore, OVERFLOW, SERIES_MAX, type Sum } from './metric-store.ts';

/** Boundaries that the conventions give. */
const SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864];

const MODALITIES: readonly Modality[] = ['text', 'image', 'audio'];

type TokenKind = 'input' | 'output' | 'cacheRead' | 'cacheWrite' | 'reasoning';
type Upstreams = ReadonlyMap<string, UpstreamConfig>;

/** Calls that are alike in everything that metrics tell apart, and where they are counted: found once, kept. */
interface Kind {
  readonly attributes: Attributes;
  readonly duration: Distribution;
  readonly firstChunk: Distribution | undefined;
  readonly input: Distribution;
  readonly output: Distribution;
  readonly tokens: Map<string, Sum>;
}

/**
 * The metrics of calls: tokens, durations and first chunks by the conventions for generative AI, and Weir's own about
 * what is billed. No metric names a customer or a key: they are for who runs the gateway, and they are no bill.
 */
export class CallMetrics {
  readonly #tokens: Readonly<Record<TokenKind, Family<Sum>>>;
  readonly #inputTokens: Family<Distribution>;
  readonly #outputTokens: Family<Distribution>;
  readonly #duration: Family<Distribution>;
  readonly #firstChunk: Family<Distribution>;
  readonly #calls: Family<Sum>;
  readonly #unpriced: Family<Sum>;
  readonly #refusals: Family<Sum>;
  readonly #faults: Family<Sum>;
  readonly #ended: Record<Outcome, Partial<Record<UsageStatus, Sum>>> = {
    ok: {},
    failed: {},
    cut: {},
    gone: {},
    unknown: {},
  };
  readonly #kinds = new Map<string, Kind>();
  /** What goes into one series, since there are too many kinds. */
  #rest: Kind | undefined;
  #upstreams: Upstreams;

  constructor(store: MetricStore, upstreams: Upstreams) {
    this.#upstreams = upstreams;
    const inference = 'gen_ai.client.inference';
    const usage = (name: string, description: string) =>
      store.counter({ name: `${inference}.usage.${name}`, unit: '{token}', description });
    this.#tokens = {
      input: usage('input_tokens', 'Input tokens, those of caches included'),
      output: usage('output_tokens', 'Output tokens, reasoning included'),
      cacheRead: usage('cache_read.input_tokens', 'Input tokens that came from a cache'),
      cacheWrite: usage('cache_write.input_tokens', 'Input tokens that went into a cache'),
      reasoning: usage('reasoning.output_tokens', 'Output tokens that were reasoning'),
    };
    const ofCall = (name: string, description: string) =>
      store.histogram({ name: `${inference}.operation.${name}`, unit: '{token}', description }, TOKENS);
    this.#inputTokens = ofCall('input_tokens', 'Input tokens of a call');
    this.#outputTokens = ofCall('output_tokens', 'Output tokens of a call');
    const seconds = (name: string, description: string) =>
      store.histogram({ name: `${inference}.${name}`, unit: 's', description }, SECONDS);
    this.#duration = seconds('duration', 'Duration of a call');
    this.#firstChunk = seconds('time_to_first_chunk', 'Time to the first chunk of a stream');
    const count = (name: string, unit: string, description: string) => store.counter({ name, unit, description });
    this.#calls = count('weir.calls', '{call}', 'Calls on record, by how they ended and how sure their usage is');
    this.#unpriced = count('weir.calls.unpriced', '{call}', 'Calls with usage that has no known price');
    this.#refusals = count('weir.refusals', '{call}', 'Calls that a limit refused');
    this.#faults = count('weir.faults', '{fault}', 'Faults, by code');
  }

  /** Addresses of upstreams may change with the configuration. */
  use(upstreams: Upstreams): void {
    this.#upstreams = upstreams;
    this.#kinds.clear();
  }

  /** Answers the attributes of the call, for its span. */
  ended(data: UsageEventData, tokens: TokenUsage): Attributes {
    const kind = this.#kindOf(data);
    kind.duration.record(data.duration_ms / 1000);
    if (data.stream && data.ttfb_ms !== null) kind.firstChunk?.record(data.ttfb_ms / 1000);
    kind.input.record(totalOf(tokens.input));
    kind.output.record(totalOf(tokens.output));
    this.#count(kind, 'input', tokens.input);
    this.#count(kind, 'output', tokens.output);
    this.#add(kind, 'cacheRead', 'text', tokens.cacheRead);
    this.#add(kind, 'cacheWrite', 'text', tokens.cacheWrite);
    this.#add(kind, 'reasoning', 'text', tokens.reasoning);
    this.#endedAs(data.outcome, data.usage_status).add(1);
    if (data.unpriced.length > 0) this.#unpriced.at({ 'gen_ai.request.model': data.model }).add(1);
    return kind === this.#rest ? attributesOf(data, this.#upstreams) : kind.attributes;
  }

  #endedAs(outcome: Outcome, status: UsageStatus): Sum {
    const known = this.#ended[outcome][status];
    if (known) return known;
    const sum = this.#calls.at({ 'weir.outcome': outcome, 'weir.usage_status': status });
    this.#ended[outcome][status] = sum;
    return sum;
  }

  refused(code: string): void {
    this.#refusals.at({ 'weir.code': code }).add(1);
  }

  faulted(code: string): void {
    this.#faults.at({ 'weir.code': code }).add(1);
  }

  /** A call that used nothing counts as 0 of an unknown modality, as the conventions want it. */
  #count(kind: Kind, what: 'input' | 'output', byModality: Readonly<Record<Modality, number>>): void {
    if (totalOf(byModality) === 0) this.#sumOf(kind, what, 'unknown');
    for (const modality of MODALITIES) this.#add(kind, what, modality, byModality[modality]);
  }

  #add(kind: Kind, what: TokenKind, modality: Modality, tokens: number): void {
    if (tokens > 0) this.#sumOf(kind, what, modality).add(tokens);
  }

  #sumOf(kind: Kind, what: TokenKind, modality: Modality | 'unknown'): Sum {
    const key = what + modality;
    const known = kind.tokens.get(key);
    if (known) return known;
    const sum = this.#tokens[what].at({ ...kind.attributes, 'gen_ai.token.modality': modality });
    kind.tokens.set(key, sum);
    return sum;
  }

  #kindOf(data: UsageEventData): Kind {
    const key = `${data.wire}\n${data.upstream}\n${data.model}\n${data.model_served}\n${errorTypeOf(data)}\n${data.stream}`;
    const known = this.#kinds.get(key);
    if (known) return known;
    if (this.#kinds.size >= SERIES_MAX) {
      this.#rest ??= this.#makeKind(OVERFLOW, true);
      return this.#rest;
    }
    const kind = this.#makeKind(attributesOf(data, this.#upstreams), data.stream);
    this.#kinds.set(key, kind);
    return kind;
  }

  #makeKind(attributes: Attributes, stream: boolean): Kind {
    return {
      attributes,
      duration: this.#duration.at(attributes),
      firstChunk: stream ? this.#firstChunk.at(attributes) : undefined,
      input: this.#inputTokens.at(attributes),
      output: this.#outputTokens.at(attributes),
      tokens: new Map(),
    };
  }
}
