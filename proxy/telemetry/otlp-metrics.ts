import { type HrTime, ValueType } from '@opentelemetry/api';
import { AggregationTemporality, type DataPoint, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import type { Entry, Metric, MetricStore } from './metric-store.ts';

/** Everything as it stands, as OpenTelemetry's exporters take it. Metrics that nothing was recorded of are left out. */
export function otlpMetrics({ metrics, startMs }: MetricStore, nowMs: number): MetricData[] {
  const startTime = hrTimeOf(startMs);
  const endTime = hrTimeOf(nowMs);
  return metrics.map(dataOf).filter(({ dataPoints }) => dataPoints.length > 0);

  function dataOf(metric: Metric): MetricData {
    const { name, unit, description } = metric;
    const aggregationTemporality = AggregationTemporality.CUMULATIVE;
    const base = { descriptor: { name, unit, description, valueType: ValueType.DOUBLE }, aggregationTemporality };
    switch (metric.kind) {
      case 'counter':
        return {
          ...base,
          dataPointType: DataPointType.SUM,
          isMonotonic: true,
          dataPoints: pointsOf(metric.family.entries(), ({ value }) => value),
        };
      case 'histogram':
        return {
          ...base,
          dataPointType: DataPointType.HISTOGRAM,
          dataPoints: pointsOf(metric.family.entries(), ({ boundaries, counts, count, sum, min, max }) => ({
            buckets: { boundaries: [...boundaries], counts: [...counts] },
            count,
            sum,
            min,
            max,
          })),
        };
      case 'gauge':
        return {
          ...base,
          dataPointType: DataPointType.GAUGE,
          dataPoints: [{ startTime, endTime, attributes: {}, value: metric.read() }],
        };
    }
  }

  function pointsOf<Series, T>(entries: Iterable<Entry<Series>>, read: (series: Series) => T): DataPoint<T>[] {
    return Array.from(entries, ({ attributes, series }) => ({ startTime, endTime, attributes, value: read(series) }));
  }
}

export function hrTimeOf(ms: number): HrTime {
  const seconds = Math.trunc(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
