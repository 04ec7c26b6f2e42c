import { z } from 'zod';
import { BILLING_BOUNDS, GATEWAY_BOUNDS as G, JOURNAL_BOUNDS as J } from './bounds.ts';
import { choice, fields } from './fields.ts';
import { bytes, duration, flag, setting } from './scalars.ts';
import { address } from './schema-parts.ts';
import { findContradictions } from './settings.ts';

/** How the gateway, billing and telemetry run. */

const host = z
  .string({ error: 'must be an address to listen on' })
  .min(1, { error: 'must be an address to listen on' });
const journal = fields({
  fsync: choice(['always', 'interval', 'never'])
    .optional()
    .describe(
      'When the journal is forced onto the disk: at each write, every `fsync_interval`, or when the system likes.',
    )
    .meta({ initial: 'interval' }),
  fsync_interval: duration(J.fsyncIntervalMs)
    .optional()
    .describe('Time between two forced writes with `fsync: interval`.'),
  bytes_max: bytes(J.bytesMax)
    .optional()
    .describe('Size of the whole journal. When it is full, calls are refused rather than served unrecorded.'),
  segment_bytes_max: bytes(J.segmentBytesMax)
    .optional()
    .describe('Size of one file of the journal; at most half of `bytes_max`.'),
}).describe('The local journal of calls and usage.');

const gatewayFields = fields({
  host: host.optional().describe('Address to listen on.').meta({ initial: '0.0.0.0' }),
  port: setting(G.port).optional().describe('Port to listen on; 0 takes any free one.'),
  body_bytes_max: bytes(G.bodyBytesMax).optional().describe('Largest request body.'),
  header_bytes_max: bytes(G.headerBytesMax).optional().describe('Largest request head.'),
  body_timeout: duration(G.bodyTimeoutMs).optional().describe('How long a request body may take to arrive.'),
  connect_timeout: duration(G.connectTimeoutMs).optional().describe('How long a connection to an upstream may take.'),
  headers_timeout: duration(G.headersTimeoutMs)
    .optional()
    .describe('How long an upstream may take to the head of its answer.'),
  idle_timeout: duration(G.idleTimeoutMs).optional().describe('How long an answer may pause.'),
  call_timeout: duration(G.callTimeoutMs).optional().describe('How long a whole call may take, streams included.'),
  calls_max: setting(G.callsMax).optional().describe('Calls in flight at once; more are refused.'),
  retries_max: setting(G.retriesMax).optional().describe('Attempts after the first, retries and fallbacks together.'),
  on_disconnect: choice(['drain', 'cancel'])
    .optional()
    .describe(
      "When a client hangs up: read the answer to its end and bill the upstream's own figures, or stop it and bill what was seen.",
    )
    .meta({ initial: 'drain' }),
  drains_max: setting(G.drainsMax).optional().describe('Answers that are read on at once without a client.'),
  drain_timeout: duration(G.drainTimeoutMs).optional().describe('How long an answer is read on without a client.'),
  shutdown_timeout: duration(G.shutdownTimeoutMs)
    .optional()
    .describe('After SIGTERM: how long open streams may finish.'),
  upstream_connections_max: setting(G.upstreamConnectionsMax)
    .optional()
    .describe('Connections to each upstream; further calls wait.'),
  output_tokens_max: setting(G.outputTokensMax)
    .optional()
    .describe('Held for the answer of a call without a maximum, where the catalogue knows none for its model.'),
  sockets_max: setting(G.socketsMax).optional().describe('WebSockets open at once; more are refused.'),
  socket_frame_bytes_max: bytes(G.socketFrameBytesMax).optional().describe('Largest message on a WebSocket.'),
  socket_timeout: duration(G.socketTimeoutMs).optional().describe('How long a WebSocket may stay open.'),
  socket_idle_timeout: duration(G.socketIdleTimeoutMs)
    .optional()
    .describe('How long a WebSocket may stay open while neither side says anything.'),
  journal: journal.optional(),
  hold_lease: duration(G.holdLeaseMs)
    .optional()
    .describe('How long what a call holds of its limits outlives a gateway that died. Calls in flight renew it.'),
  store_timeout: duration(G.storeTimeoutMs)
    .optional()
    .describe('How long a call waits for the store of its limits, before each of them does what `on_store_down` says.'),
  clamp_output: flag(true)
    .optional()
    .describe(
      'Where the whole answer of a call does not fit into its limits, lower its maximum of output to what is left. Callers switch it off with `x-weir-clamp: off`.',
    ),
  limit_headers: flag(true)
    .optional()
    .describe('Tell callers where their limits stand, on every answer: `RateLimit` and the headers of their dialect.'),
  budget_status_402: flag(false)
    .optional()
    .describe("Answer an exhausted budget with 402 instead of the dialect's own status."),
});

export type GatewayFile = z.output<typeof gatewayFields>;

export const gateway = gatewayFields
  .superRefine((value, context) => {
    for (const { path, text } of findContradictions(value)) context.addIssue({ code: 'custom', path, message: text });
  })
  .describe('How the gateway runs.');

export const billing = fields({
  host: host.optional().describe('Address to listen on.').meta({ initial: '0.0.0.0' }),
  port: setting(BILLING_BOUNDS.port).optional().describe('Port to listen on; 0 takes any free one.'),
  url: address
    .optional()
    .describe(
      'Where a gateway without Redis posts its usage and reads its keys; the billing of this machine when absent.',
    ),
}).describe('How billing runs.');

export const telemetry = fields({
  otlp_endpoint: address
    .optional()
    .describe(
      'OTLP/HTTP address for metrics and traces; OTEL_EXPORTER_OTLP_ENDPOINT when absent, none when that is absent too.',
    ),
  log_level: choice(['debug', 'info', 'warn', 'error'])
    .optional()
    .describe('Least severe line that is logged.')
    .meta({ initial: 'info' }),
}).describe('Logs, metrics and traces.');
