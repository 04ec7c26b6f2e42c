import { add, type Exact } from '#core/exact.ts';
import { USAGE_EVENT_TYPE } from '#core/usage-event.ts';
import { first, given, instantOfNanos, labelsOf, sourceOf, whoOf } from './attributes.ts';
import { hashOf, type Point, seriesHash } from './points.ts';
import { MODALITIES, noTokens, parseCount, quantitiesOfTokens, type TokenCounts } from './token-units.ts';

/**
 * Usage events of metrics whose values are what came since the point before. The points of one call's attributes and one
 * interval are one event: its tokens by type and modality make disjoint quantities together.
 */

const TOKENS = 'gen_ai.client.inference.usage.';
/** What the conventions had until 2026: a histogram of tokens by type. */
const TOKENS_BEFORE = 'gen_ai.client.token.usage';
const DURATIONS = new Set(['gen_ai.client.inference.duration', 'gen_ai.client.operation.duration']);
/** Tell the points of one interval apart and not the calls. */
const PER_POINT = new Set(['gen_ai.token.type', 'gen_ai.token.modality', 'error.type']);

export function eventsOfMetrics(points: readonly Point[]): unknown[] {
  // Who reports both reports the same twice.
  const isNew = new Set(points.filter(({ name }) => name.startsWith(TOKENS)).map(({ resource }) => resource));
  const intervals = new Map<string, Point[]>();
  const others: unknown[] = [];
  for (const point of points) {
    if (point.value === undefined) continue;
    const isTokens = point.name.startsWith(TOKENS) && point.kind === 'sum';
    const isBefore = point.name === TOKENS_BEFORE && point.kind === 'histogram_sum' && !isNew.has(point.resource);
    const isCalls = DURATIONS.has(point.name) && point.kind === 'histogram_count';
    if (isTokens || isBefore || isCalls) {
      const key = intervalOf(point);
      intervals.set(key, [...(intervals.get(key) ?? []), point]);
    } else if (!point.name.startsWith('gen_ai.')) others.push(...namedEvent(point));
  }
  return [...[...intervals].flatMap(([key, of]) => tokenEvent(key, of)), ...others];
}

/** By its end: series of one process begin when each was first used. */
function intervalOf({ resource, scope, attributes, timeNanos }: Point): string {
  const of = [...attributes].filter(([name]) => !PER_POINT.has(name)).sort(([a], [b]) => (a < b ? -1 : 1));
  return hashOf([[...resource].sort(([a], [b]) => (a < b ? -1 : 1)), scope, of, timeNanos]);
}

/** None where nothing was used. */
function tokenEvent(key: string, points: readonly Point[]): unknown[] {
  const [one] = points;
  if (!one) return [];
  const counts = noTokens();
  let calls: Exact | undefined;
  for (const point of points) {
    const count = parseCount(point.value);
    if (!count) continue;
    if (DURATIONS.has(point.name)) calls = calls ? add(calls, count) : count;
    else addTokens(counts, point, count);
  }
  const quantities = quantitiesOfTokens(counts);
  if (calls && calls.num > 0n) quantities.calls = calls.num.toString();
  if (Object.keys(quantities).length === 0) return [];
  const places = [one.attributes, one.resource];
  const who = whoOf(places);
  return [
    {
      ...envelopeOf(one, key, who.customer),
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
    },
  ];
}

function addTokens(counts: TokenCounts, { name, attributes }: Point, count: Exact): void {
  const type = name === TOKENS_BEFORE ? (attributes.get('gen_ai.token.type') ?? '') : name.slice(TOKENS.length);
  const modality = MODALITIES.find((each) => each === attributes.get('gen_ai.token.modality'));
  const part = modality && counts.parts[modality];
  if (type === 'input' || type === 'input_tokens') {
    counts.input = add(counts.input, count);
    if (part) part.input = add(part.input, count);
  } else if (type === 'output' || type === 'output_tokens' || type === 'completion') {
    counts.output = add(counts.output, count);
    if (part) part.output = add(part.output, count);
  } else if (type === 'cache_read.input_tokens') {
    counts.cacheRead = add(counts.cacheRead, count);
    if (part) part.cacheRead = add(part.cacheRead, count);
  } else if (type === 'cache_write.input_tokens') {
    counts.cacheWrite = add(counts.cacheWrite, count);
  }
}

/** Any other metric that names its customer: an event of the metric's name, for meters. Histograms are none. */
function namedEvent(point: Point): unknown[] {
  const places = [point.attributes, point.resource];
  const customer = first(places, 'weir.customer');
  if (customer === undefined || (point.kind !== 'gauge' && point.kind !== 'sum')) return [];
  const key = hashOf([seriesHash(point), point.startNanos, point.timeNanos]);
  const attributes = Object.fromEntries([...point.attributes].filter(([name]) => !name.startsWith('weir.')));
  const { user, session, key: ofKey } = whoOf(places);
  const data = {
    ...attributes,
    ...given({ user, session, key: ofKey }),
    labels: labelsOf(places),
    unit: point.unit,
    value: point.value,
  };
  return [{ ...envelopeOf(point, key, customer), type: point.name, data }];
}

function envelopeOf(point: Point, key: string, customer: string | undefined): Record<string, unknown> {
  const time = instantOfNanos(point.timeNanos);
  return {
    ...{ specversion: '1.0', id: key, source: sourceOf(point.resource) },
    ...given({ subject: customer, time }),
  };
}
