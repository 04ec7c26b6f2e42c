import type { Attributes } from '@opentelemetry/api';
import type { Metric, MetricStore, Sum } from './metric-store.ts';

/** Units that Prometheus wants in the name; others (`{call}`, none) are left out. */
const UNITS: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes' };

/**
 * Everything as it stands in the text format of Prometheus (0.0.4), named as OpenTelemetry's specification for it says.
 * OpenTelemetry's own serializer took ten times as long (96 ms for 50 models), on the thread that serves calls.
 */
export function prometheusText({ metrics }: MetricStore, target: Attributes): string {
  const lines = ['# TYPE target_info gauge', `target_info${labelsOf(target)} 1`];
  for (const metric of metrics) {
    const name = nameOf(metric);
    lines.push(`# HELP ${name} ${metric.description}`, `# TYPE ${name} ${metric.kind}`);
    if (metric.kind === 'gauge') lines.push(`${name} ${metric.read()}`);
    else if (metric.kind === 'counter') pushCounters(lines, name, metric.family.entries());
    else pushHistograms(lines, name, metric);
  }
  lines.push('');
  return lines.join('\n');
}

function pushCounters(lines: string[], name: string, entries: Iterable<{ attributes: Attributes; series: Sum }>): void {
  for (const { attributes, series } of entries) lines.push(`${name}${labelsOf(attributes)} ${series.value}`);
}

function pushHistograms(lines: string[], name: string, { family }: Metric & { kind: 'histogram' }): void {
  for (const { attributes, series } of family.entries()) {
    const labels = labelsOf(attributes);
    const bucket = `${name}_bucket${labels === '' ? '{' : `${labels.slice(0, -1)},`}le="`;
    let below = 0;
    series.boundaries.forEach((boundary, i) => {
      below += series.counts[i] as number;
      lines.push(`${bucket}${boundary}"} ${below}`);
    });
    lines.push(`${bucket}+Inf"} ${series.count}`, `${name}_sum${labels} ${series.sum}`);
    lines.push(`${name}_count${labels} ${series.count}`);
  }
}

function nameOf({ name, unit, kind }: Metric): string {
  return `${wordOf(name)}${UNITS[unit] ?? ''}${kind === 'counter' ? '_total' : ''}`;
}

function labelsOf(attributes: Attributes): string {
  const labels = Object.entries(attributes).map(([name, value]) => `${wordOf(name)}="${escapeLabel(String(value))}"`);
  return labels.length === 0 ? '' : `{${labels.join(',')}}`;
}

function wordOf(name: string): string {
  return name.replaceAll(/[^a-zA-Z0-9_]/g, '_');
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
