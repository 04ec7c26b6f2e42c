import type { Attributes } from '@opentelemetry/api';
import type { UpstreamConfig } from '#config/config.ts';
import type { Unit } from '#core/quantity.ts';
import type { UsageEventData } from '#core/usage-event.ts';
import type { Wire } from '../wire/wire.ts';
import { WIRES } from '../wire/wires.ts';

/**
 * Calls in the words of OpenTelemetry's conventions for generative AI (semantic-conventions-genai, August 2026).
 */
const WIRES_BY_NAME: ReadonlyMap<string, Wire> = new Map(WIRES.map((wire) => [wire.name, wire]));

/** Names of providers where the conventions have another than our catalogue. */
const PROVIDERS: Readonly<Record<string, string>> = { google: 'gcp.gemini', mistral: 'mistral_ai', xai: 'x_ai' };

export type Modality = 'text' | 'image' | 'audio';

/** Input as the conventions count it: what came from a cache or went into one is part of it. */
export interface TokenUsage {
  readonly input: Readonly<Record<Modality, number>>;
  readonly output: Readonly<Record<Modality, number>>;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  readonly reasoning: number;
}

export function operationOf(wire: string): string {
  return WIRES_BY_NAME.get(wire)?.operation ?? wire;
}

/** What all metrics of a call carry, and its span too. */
export function attributesOf(data: UsageEventData, upstreams: ReadonlyMap<string, UpstreamConfig>): Attributes {
  const upstream = data.upstream === null ? undefined : upstreams.get(data.upstream);
  const errorType = errorTypeOf(data);
  return {
    'gen_ai.operation.name': operationOf(data.wire),
    'gen_ai.provider.name': providerOf(data),
    'gen_ai.request.model': data.model,
    ...(data.model_served !== null && { 'gen_ai.response.model': data.model_served }),
    ...(upstream && serverOf(upstream, data.wire)),
    ...(errorType !== null && { 'error.type': errorType }),
  };
}

function providerOf({ provider, upstream }: UsageEventData): string {
  if (provider === null) return upstream ?? 'unknown';
  return PROVIDERS[provider] ?? provider;
}

function serverOf({ addresses }: UpstreamConfig, wire: string): Attributes {
  const family = WIRES_BY_NAME.get(wire)?.family;
  const address = (family && addresses[family]) ?? Object.values(addresses)[0];
  if (address === undefined) return {};
  const { hostname, port, protocol } = new URL(address);
  return { 'server.address': hostname, 'server.port': port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port) };
}

/** The last upstream's status where it answered an error, else how the call ended; null when all went well. */
export function errorTypeOf({ outcome, attempts }: UsageEventData): string | null {
  switch (outcome) {
    case 'ok':
      return null;
    case 'failed':
      return String(attempts.at(-1)?.status ?? 'upstream_unanswered');
    case 'cut':
      return 'upstream_broken';
    case 'gone':
      return 'client_gone';
    case 'unknown':
      return 'unknown';
  }
}

/** Where the tokens of a unit count. The conventions have no word for video: it is images, one after another. */
const PLACES: ReadonlyMap<string, TokenPlace> = new Map<Unit, TokenPlace>([
  ['input_tokens', { side: 'input', modality: 'text' }],
  ['input_image_tokens', { side: 'input', modality: 'image' }],
  ['input_video_tokens', { side: 'input', modality: 'image' }],
  ['input_audio_tokens', { side: 'input', modality: 'audio' }],
  ['cache_read_tokens', { side: 'input', modality: 'text', also: 'cacheRead' }],
  ['cache_read_image_tokens', { side: 'input', modality: 'image', also: 'cacheRead' }],
  ['cache_read_video_tokens', { side: 'input', modality: 'image', also: 'cacheRead' }],
  ['cache_read_audio_tokens', { side: 'input', modality: 'audio', also: 'cacheRead' }],
  ['cache_write_tokens', { side: 'input', modality: 'text', also: 'cacheWrite' }],
  ['cache_write_5m_tokens', { side: 'input', modality: 'text', also: 'cacheWrite' }],
  ['cache_write_1h_tokens', { side: 'input', modality: 'text', also: 'cacheWrite' }],
  ['cache_write_12h_tokens', { side: 'input', modality: 'text', also: 'cacheWrite' }],
  ['output_tokens', { side: 'output', modality: 'text' }],
  ['reasoning_tokens', { side: 'output', modality: 'text', also: 'reasoning' }],
  ['output_image_tokens', { side: 'output', modality: 'image' }],
  ['output_audio_tokens', { side: 'output', modality: 'audio' }],
]);

interface TokenPlace {
  readonly side: 'input' | 'output';
  readonly modality: Modality;
  readonly also?: 'cacheRead' | 'cacheWrite' | 'reasoning';
}

export function tokensOf({ quantities, raw_usage: raw }: UsageEventData): TokenUsage {
  const usage = {
    input: { text: 0, image: 0, audio: 0 },
    output: { text: 0, image: 0, audio: 0 },
    cacheRead: 0,
    cacheWrite: 0,
    reasoning: reasoningOf(raw),
  };
  for (const unit in quantities) {
    const place = PLACES.get(unit);
    if (!place) continue;
    const tokens = Number(quantities[unit]);
    usage[place.side][place.modality] += tokens;
    if (place.also) usage[place.also] += tokens;
  }
  return usage;
}

export function totalOf(byModality: Readonly<Record<Modality, number>>): number {
  return byModality.text + byModality.image + byModality.audio;
}

/** Part of the output and not billed apart, so it is in no quantity of ours. */
function reasoningOf(raw: unknown): number {
  const details = fieldOf(raw, 'completion_tokens_details') ?? fieldOf(raw, 'output_tokens_details');
  const tokens = fieldOf(details, 'reasoning_tokens');
  return typeof tokens === 'number' ? tokens : 0;
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value ? Reflect.get(value, name) : undefined;
}
