import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type AttributeMap, Attributes, Double, decimalOf, LongValue, Nanos, Resource } from './attributes.ts';

/** Metrics as a flat list of points, each with the series that it belongs to. */

const times = { startTimeUnixNano: Nanos, timeUnixNano: Nanos, attributes: Attributes };
const NumberPoint = z.looseObject({ ...times, asInt: LongValue.optional(), asDouble: Double.optional() });
const HistogramPoint = z.looseObject({ ...times, count: LongValue.optional(), sum: Double.optional() });
const temporality = z.number().optional();
const Histogram = z.looseObject({
  dataPoints: z.array(HistogramPoint).default([]),
  aggregationTemporality: temporality,
});

const Metric = z.looseObject({
  name: z.string().default(''),
  unit: z.string().default(''),
  gauge: z.looseObject({ dataPoints: z.array(NumberPoint).default([]) }).optional(),
  sum: z
    .looseObject({
      dataPoints: z.array(NumberPoint).default([]),
      aggregationTemporality: temporality,
      isMonotonic: z.boolean().default(false),
    })
    .optional(),
  histogram: Histogram.optional(),
  exponentialHistogram: Histogram.optional(),
});

export const MetricsRequest = z.looseObject({
  resourceMetrics: z
    .array(
      z.looseObject({
        resource: Resource,
        scopeMetrics: z
          .array(
            z.looseObject({
              scope: z.looseObject({ name: z.string().default('') }).optional(),
              metrics: z.array(Metric).default([]),
            }),
          )
          .default([]),
      }),
    )
    .default([]),
});

const CUMULATIVE = 2;

export interface Point {
  name: string;
  /** What is read of it: the sum of a histogram, how many it holds, or the number itself. */
  kind: 'gauge' | 'sum' | 'histogram_sum' | 'histogram_count';
  unit: string;
  resource: AttributeMap;
  scope: string;
  attributes: AttributeMap;
  /** As nanoseconds since 1970; '0' where it is not known. */
  startNanos: string;
  timeNanos: string;
  /** Exact; undefined where there is none, or none that is finite. */
  value: string | undefined;
  /** True of a sum since its start, false of what came since the point before. */
  cumulative: boolean;
}

export function pointsOf(request: z.output<typeof MetricsRequest>): Point[] {
  const points: Point[] = [];
  for (const { resource, scopeMetrics } of request.resourceMetrics) {
    for (const { scope, metrics } of scopeMetrics) {
      for (const { name, unit, gauge, sum, histogram, exponentialHistogram } of metrics) {
        const of = { name, unit, resource, scope: scope?.name ?? '' };
        const add = (kind: Point['kind'], from: Timed, value: string | undefined, cumulative: boolean) =>
          points.push({ ...of, kind, ...timesOf(from), attributes: from.attributes, value, cumulative });
        for (const point of gauge?.dataPoints ?? [])
          add('gauge', point, decimalOf(point.asInt ?? point.asDouble), false);
        // A sum that can fall is a level: what comes on top of the last is not what was used.
        for (const point of sum?.dataPoints ?? []) {
          const value = decimalOf(point.asInt ?? point.asDouble);
          const cumulative = sum?.aggregationTemporality === CUMULATIVE;
          if (sum?.isMonotonic || !cumulative) add('sum', point, value, cumulative);
          else add('gauge', point, value, false);
        }
        for (const values of [histogram, exponentialHistogram]) {
          const cumulative = values?.aggregationTemporality === CUMULATIVE;
          for (const point of values?.dataPoints ?? []) {
            add('histogram_sum', point, decimalOf(point.sum), cumulative);
            add('histogram_count', point, decimalOf(point.count), cumulative);
          }
        }
      }
    }
  }
  return points;
}

type Timed = Pick<z.output<typeof NumberPoint>, 'startTimeUnixNano' | 'timeUnixNano' | 'attributes'>;

function timesOf({ startTimeUnixNano = '0', timeUnixNano = '0' }: Timed): Pick<Point, 'startNanos' | 'timeNanos'> {
  const nanos = (text: string) => (/^\d{1,19}$/.test(text) ? BigInt(text).toString() : '0');
  return { startNanos: nanos(startTimeUnixNano), timeNanos: nanos(timeUnixNano) };
}

/** Names a series: the same whenever the same process reports the same thing. */
export function seriesHash(point: Point): string {
  const sorted = (attributes: AttributeMap) => [...attributes].sort(([a], [b]) => (a < b ? -1 : 1));
  const { resource, scope, name, kind, attributes } = point;
  return hashOf([sorted(resource), scope, name, kind, sorted(attributes)]);
}

export function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
