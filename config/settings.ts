import { type Bound, GATEWAY_BOUNDS, GATEWAY_RELATIONS, JOURNAL_BOUNDS, JOURNAL_SEGMENTS_MIN } from './bounds.ts';
import type { Config, GatewaySettings } from './config.ts';
import type { GatewayFile } from './schema-settings.ts';

type NumberSetting = keyof typeof GATEWAY_BOUNDS;

/** The name of each setting in the file. */
const FIELD: Readonly<Record<NumberSetting, keyof GatewayFile & string>> = {
  port: 'port',
  bodyBytesMax: 'body_bytes_max',
  headerBytesMax: 'header_bytes_max',
  bodyTimeoutMs: 'body_timeout',
  connectTimeoutMs: 'connect_timeout',
  headersTimeoutMs: 'headers_timeout',
  idleTimeoutMs: 'idle_timeout',
  callTimeoutMs: 'call_timeout',
  callsMax: 'calls_max',
  retriesMax: 'retries_max',
  drainsMax: 'drains_max',
  drainTimeoutMs: 'drain_timeout',
  shutdownTimeoutMs: 'shutdown_timeout',
  holdLeaseMs: 'hold_lease',
  storeTimeoutMs: 'store_timeout',
  upstreamConnectionsMax: 'upstream_connections_max',
  outputTokensMax: 'output_tokens_max',
  socketsMax: 'sockets_max',
  socketFrameBytesMax: 'socket_frame_bytes_max',
  socketTimeoutMs: 'socket_timeout',
  socketIdleTimeoutMs: 'socket_idle_timeout',
};

function given(file: GatewayFile, name: NumberSetting): number | undefined {
  const value = file[FIELD[name]];
  return typeof value === 'number' ? value : undefined;
}

/**
 * A default never contradicts what the file says: where the file makes a whole smaller than the default of its part,
 * the part shrinks with it. Where the file makes the part larger than the whole, that is a mistake of the file.
 */
function settle(file: GatewayFile): Record<NumberSetting, number> {
  const settled = {} as Record<NumberSetting, number>;
  for (const key in GATEWAY_BOUNDS) {
    const name = key as NumberSetting;
    const bound: Bound = GATEWAY_BOUNDS[name];
    settled[name] = given(file, name) ?? bound.initial;
  }
  // Twice, since a part can be a whole itself: connection in head, head in call.
  for (let round = 0; round < 2; round++) {
    for (const [part, whole] of GATEWAY_RELATIONS) {
      if (given(file, part) === undefined) settled[part] = Math.min(settled[part], settled[whole]);
    }
  }
  return settled;
}

export function compileGateway(file: GatewayFile): GatewaySettings {
  const bytesMax = file.journal?.bytes_max ?? JOURNAL_BOUNDS.bytesMax.initial;
  const segmentBytesMax = Math.min(JOURNAL_BOUNDS.segmentBytesMax.initial, Math.trunc(bytesMax / JOURNAL_SEGMENTS_MIN));
  return {
    ...settle(file),
    host: file.host ?? '0.0.0.0',
    onDisconnect: file.on_disconnect ?? 'drain',
    budgetStatus402: file.budget_status_402 ?? false,
    clampOutput: file.clamp_output ?? true,
    limitHeaders: file.limit_headers ?? true,
    journal: {
      fsync: file.journal?.fsync ?? 'interval',
      fsyncIntervalMs: file.journal?.fsync_interval ?? JOURNAL_BOUNDS.fsyncIntervalMs.initial,
      bytesMax,
      segmentBytesMax: file.journal?.segment_bytes_max ?? segmentBytesMax,
    },
  };
}

/** Settings of the file that contradict each other. */
export function findContradictions(file: GatewayFile): { path: string[]; text: string }[] {
  const settings = settle(file);
  const found: { path: string[]; text: string }[] = GATEWAY_RELATIONS.filter(
    ([part, whole]) => settings[part] > settings[whole],
  ).map(([part, whole, why]) => ({
    path: [FIELD[part]],
    text: `must not exceed \`${FIELD[whole]}\`: ${why}`,
  }));
  const { bytesMax, segmentBytesMax } = compileGateway(file).journal;
  if (segmentBytesMax * JOURNAL_SEGMENTS_MIN > bytesMax) {
    const text = 'must be at most half of `bytes_max`: one segment is written while another is given back';
    found.push({ path: ['journal', 'segment_bytes_max'], text });
  }
  return found;
}

/** What is read once, when a process starts: listeners, the journal, the exporter. Everything else follows a reload. */
const READ_AT_START = [
  ['gateway.host', (config: Config) => config.gateway.host],
  ['gateway.port', (config: Config) => config.gateway.port],
  ['gateway.header_bytes_max', (config: Config) => config.gateway.headerBytesMax],
  ['gateway.store_timeout', (config: Config) => config.gateway.storeTimeoutMs],
  ['gateway.journal', (config: Config) => JSON.stringify(config.gateway.journal)],
  ['billing.host', (config: Config) => config.billing.host],
  ['billing.port', (config: Config) => config.billing.port],
  ['billing.url', (config: Config) => config.billing.url],
  ['telemetry.otlp_endpoint', (config: Config) => config.telemetry.otlpEndpoint],
] as const;

/** Settings that differ and take effect with the next start only. */
export function needRestart(before: Config, after: Config): string[] {
  return READ_AT_START.filter(([, read]) => read(before) !== read(after)).map(([name]) => name);
}
