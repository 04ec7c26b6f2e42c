import { type DiagLogger, DiagLogLevel, diag } from '@opentelemetry/api';
import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader, type ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import type { Config } from '#config/config.ts';
import type { Log } from '#core/log.ts';
import type { Clock } from '#core/time.ts';
import type { Observer } from '../observer.ts';
import { CallMetrics } from './call-metrics.ts';
import { type Gauge, MetricStore } from './metric-store.ts';
import { otelObserver } from './otel-observer.ts';
import { otlpMetrics } from './otlp-metrics.ts';
import { prometheusText } from './prometheus-text.ts';

export interface TelemetryOptions {
  config: Config;
  log: Log;
  clock: Clock;
  /** Of Weir. */
  version: string;
}

export interface Telemetry {
  readonly observer: Observer;
  /** Adds what is read off when somebody looks. */
  gauges(gauges: readonly Gauge[]): void;
  /** A new configuration. An endpoint that changed takes effect with the next start. */
  use(config: Config): void;
  /** Everything for Prometheus, in its text format. */
  scrape(): string;
  /** Sends what is left to the endpoint. */
  stop(): Promise<void>;
}

/** What goes to an endpoint. */
interface Pushing {
  take: (span: ReadableSpan) => void;
  stop(): Promise<void>;
}

const SCOPE_NAME = 'weir';
const SPANS_QUEUED_MAX = 8192;
const SPANS_EVERY_MS = 1000;
const METRICS_EVERY_MS = 15_000;
/** Tries again and again within this time, and bounds how long an endpoint that is away can hold up the end of the process. */
const EXPORT_TIMEOUT_MS = 3000;

/**
 * Metrics and spans of a gateway on Node. They are always there for Prometheus to read; they are sent over OTLP/HTTP,
 * as JSON, where the configuration names an endpoint. Headers and further attributes come from the environment, by the
 * names that OpenTelemetry gives them (OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME).
 */
export async function startTelemetry({ config, log, clock, version }: TelemetryOptions): Promise<Telemetry> {
  const scope = { name: SCOPE_NAME, version };
  const resource = resourceOf(version);
  const store = new MetricStore(clock());
  const metrics = new CallMetrics(store, config.upstreams);
  const collect = (): ResourceMetrics => ({
    resource,
    scopeMetrics: [{ scope, metrics: otlpMetrics(store, clock()) }],
  });
  const { otlpEndpoint } = config.telemetry;
  const pushing = otlpEndpoint === null ? undefined : await startPushing(otlpEndpoint, resource, collect, log);
  return {
    observer: otelObserver({
      metrics,
      log,
      clock,
      spans: pushing && { origin: { resource, scope }, take: pushing.take },
    }),
    gauges(gauges) {
      for (const gauge of gauges) store.gauge(gauge);
    },
    use: (next) => metrics.use(next.upstreams),
    scrape: () => prometheusText(store, resource.attributes),
    stop: async () => pushing?.stop(),
  };
}

function resourceOf(version: string): Resource {
  return defaultResource()
    .merge(resourceFromAttributes({ 'service.name': 'weir-gateway', 'service.version': version }))
    .merge(detectResources({ detectors: [envDetector] }));
}

/** Loaded only where there is an endpoint: the exporters take a while. */
async function startPushing(
  endpoint: string,
  resource: Resource,
  collect: () => ResourceMetrics,
  log: Log,
): Promise<Pushing> {
  const [{ OTLPTraceExporter }, { OTLPMetricExporter }, { BatchSpanProcessor }] = await Promise.all([
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/exporter-metrics-otlp-http'),
    import('@opentelemetry/sdk-trace'),
  ]);
  diag.setLogger(diagLog(log), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  const base = endpoint.replace(/\/+$/, '');
  const spans = new BatchSpanProcessor({
    exporter: new OTLPTraceExporter({ url: `${base}/v1/traces`, timeoutMillis: EXPORT_TIMEOUT_MS }),
    maxQueueSize: SPANS_QUEUED_MAX,
    exportTimeoutMillis: EXPORT_TIMEOUT_MS,
    scheduledDelayMillis: SPANS_EVERY_MS,
  });
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ url: `${base}/v1/metrics`, timeoutMillis: EXPORT_TIMEOUT_MS }),
    exportIntervalMillis: METRICS_EVERY_MS,
    exportTimeoutMillis: EXPORT_TIMEOUT_MS,
    metricProducers: [{ collect: async () => ({ resourceMetrics: collect(), errors: [] }) }],
  });
  const metrics = new MeterProvider({ resource, readers: [reader] });
  return {
    take: (span) => spans.onEnd(span),
    async stop() {
      const ends = await Promise.allSettled([spans.shutdown(), metrics.shutdown()]);
      for (const end of ends) {
        if (end.status === 'rejected') log.warn({ err: end.reason }, 'The last telemetry could not be sent.');
      }
    },
  };
}

/** What OpenTelemetry has to say of itself: an endpoint that does not answer, above all. */
function diagLog(log: Log): DiagLogger {
  return {
    error: (message) => log.warn({ from: 'opentelemetry' }, message),
    warn: (message) => log.warn({ from: 'opentelemetry' }, message),
    info: (message) => log.debug({ from: 'opentelemetry' }, message),
    debug: (message) => log.debug({ from: 'opentelemetry' }, message),
    verbose: (message) => log.debug({ from: 'opentelemetry' }, message),
  };
}
