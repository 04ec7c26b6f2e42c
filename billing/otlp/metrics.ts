import { type ParsedEvent, parkedEvent } from '#billing/events/event.ts';
import { cutText, storableJson } from '#billing/events/storable.ts';
import { add, type Exact, formatExact } from '#core/exact.ts';
import { formatInstant } from '#core/time.ts';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';
import { first, given, instantOfNanos, labelsOf, millisOf, sourceOf, whoOf } from './attributes.ts';
import { hashOf, type Point, seriesHash } from './points.ts';
import { MODALITIES, noTokens, quantitiesOfTokens, type TokenCounts } from './token-units.ts';

/**
 * What points of metrics say, and the events that they are. The points of one call's attributes and one collection are
 * one event: its tokens by type and modality make disjoint quantities together.
 */

const NANOS_PER_SECOND = 1_000_000_000n;
const TOKENS = 'gen_ai.client.inference.usage.';
/** What the conventions had until 2026: a histogram of tokens by type. */
const TOKENS_BEFORE = 'gen_ai.client.token.usage';
const CALLS = 'gen_ai.client.inference.duration';
const CALLS_BEFORE = 'gen_ai.client.operation.duration';
/** Tell the points of one collection apart and not the calls. */
const PER_POINT = new Set(['gen_ai.token.type', 'gen_ai.token.modality', 'error.type']);

/** Counts of a call's attributes: part of an event with others. `usage` says of what, such as `input` or `input audio`. */
export interface CallUse {
  readonly kind: 'call';
  readonly usage: string;
  /** By the name that the conventions had before: who reports both reports the same twice. */
  readonly former: boolean;
  /** Of the event. */
  readonly id: string;
  /** Calls of a resource in a second, of which a former name says the same as a later one: whatever else their attributes are. */
  readonly family: string;
}

/** Any other metric that names its customer: an event of the metric's name, for meters. */
export interface NamedUse {
  readonly kind: 'named';
  readonly id: string;
  readonly customer: string;
}

/** Undefined of what is nobody's usage. */
export function useOf(point: Point): CallUse | NamedUse | undefined {
  const { name, kind } = point;
  if (name.startsWith(TOKENS) && kind === 'sum') return callUse(point, typeOf(name.slice(TOKENS.length)), false);
  if (name === TOKENS_BEFORE && kind === 'histogram_sum') {
    return callUse(point, typeOf(point.attributes.get('gen_ai.token.type') ?? ''), true);
  }
  if (kind === 'histogram_count' && (name === CALLS || name === CALLS_BEFORE)) {
    return callUse(point, 'calls', name === CALLS_BEFORE);
  }
  if (name.startsWith('gen_ai.') || (kind !== 'gauge' && kind !== 'sum')) return undefined;
  const customer = first([point.attributes, point.resource], 'weir.customer');
  if (customer === undefined) return undefined;
  return { kind: 'named', id: hashOf([seriesHash(point), point.startNanos, point.timeNanos]), customer };
}

const TYPES: Readonly<Record<string, 'input' | 'output' | 'cacheRead' | 'cacheWrite'>> = {
  input: 'input',
  input_tokens: 'input',
  output: 'output',
  output_tokens: 'output',
  completion: 'output',
  'cache_read.input_tokens': 'cacheRead',
  'cache_write.input_tokens': 'cacheWrite',
};

function typeOf(name: string): string | undefined {
  return Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
}

/**
 * Points of one collection are found by the second of their end, since some libraries look at the clock for each of
 * them; series of one process begin when each was first used.
 */
function callUse(point: Point, usage: string | undefined, former: boolean): CallUse | undefined {
  if (usage === undefined) return undefined;
  const { resource, scope, attributes } = point;
  const modality = MODALITIES.find((each) => each === attributes.get('gen_ai.token.modality'));
  const of = sorted([...attributes].filter(([name]) => !PER_POINT.has(name)));
  const second = `${secondOf(BigInt(point.timeNanos))}`;
  const places = [attributes, resource];
  const { model = '' } = whoOf(places);
  const call = ['weir.customer', 'gen_ai.operation.name'].map((name) => first(places, name) ?? '');
  return {
    kind: 'call',
    usage: modality && usage !== 'calls' ? `${usage} ${modality}` : usage,
    former,
    id: hashOf([sorted([...resource]), scope, of, second]),
    family: hashOf([sorted([...resource]), second, model, call]),
  };
}

function sorted(entries: [string, string][]): [string, string][] {
  return entries.sort(([a], [b]) => (a < b ? -1 : 1));
}

function secondOf(nanos: bigint): bigint {
  return nanos / NANOS_PER_SECOND;
}

/** One sender's points are counted one request after the other. */
export function senderOf({ resource }: Point): string {
  return hashOf(sorted([...resource]));
}

/** What the points of a call's attributes come to together, in disjoint quantities; without those of former names where others say the same. */
export function quantitiesOf(
  points: readonly { usage: string | null; former: boolean; counted: Exact }[],
  later: { tokens: boolean; calls: boolean },
): Record<string, string> {
  const counts = noTokens();
  let calls: Exact | undefined;
  for (const { usage, former, counted } of points) {
    const isCalls = usage === 'calls';
    if (former && (isCalls ? later.calls : later.tokens)) continue;
    if (isCalls) calls = calls ? add(calls, counted) : counted;
    else addTokens(counts, usage ?? '', counted);
  }
  const quantities = quantitiesOfTokens(counts);
  if (calls && calls.num > 0n) quantities.calls = formatExact(calls);
  return quantities;
}

function addTokens(counts: TokenCounts, usage: string, count: Exact): void {
  const [type, named] = usage.split(' ');
  const modality = MODALITIES.find((each) => each === named);
  if (type !== 'input' && type !== 'output' && type !== 'cacheRead' && type !== 'cacheWrite') return;
  counts[type] = add(counts[type], count);
  if (modality && type !== 'cacheWrite') {
    counts.parts[modality][type] = add(counts.parts[modality][type], count);
  }
}

/** At the second of the collection, whichever of its points came. */
export function callEvent(point: Point, id: string, nanos: bigint, quantities: object): Record<string, unknown> {
  const places = [point.attributes, point.resource];
  const who = whoOf(places);
  return {
    ...envelopeOf(point, id, who.customer),
    time: formatInstant(millisOf(secondOf(nanos) * NANOS_PER_SECOND)),
    type: USAGE_EVENT_TYPE,
    data: {
      ...who,
      labels: labelsOf(places),
      wire: 'otlp',
      endpoint: first(places, 'gen_ai.operation.name') ?? '',
      usage_status: 'final',
      quantities,
      cost: null,
    },
  };
}

export function namedEvent(
  point: Point,
  { id, customer }: Pick<NamedUse, 'id' | 'customer'>,
  nanos: bigint,
  value: string | undefined,
): Record<string, unknown> {
  const places = [point.attributes, point.resource];
  const attributes = Object.fromEntries([...point.attributes].filter(([name]) => !name.startsWith('weir.')));
  const { user, session, key } = whoOf(places);
  const data = { ...attributes, ...given({ user, session, key }), labels: labelsOf(places), unit: point.unit, value };
  return { ...envelopeOf(point, id, customer), time: instantOfNanos(`${nanos}`), type: point.name, data };
}

function envelopeOf(point: Point, id: string, customer: string | undefined): Record<string, unknown> {
  return { specversion: '1.0', id, source: sourceOf(point.resource), ...given({ subject: customer }) };
}

/** A point that cannot be counted once for sure, kept with its reason. */
export function parkedPoint(point: Point, detail: string): ParsedEvent {
  const { resource, attributes, ...rest } = point;
  const shown = { ...rest, resource: Object.fromEntries(resource), attributes: Object.fromEntries(attributes) };
  return parkedEvent(shown, storableJson(shown) ?? cutText(shown), 'malformed', [{ detail }]);
}
