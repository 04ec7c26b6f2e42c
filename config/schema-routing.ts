import { z } from 'zod';
import { UNITS } from '#core/quantity.ts';
import { WEIGHT_MAX } from './bounds.ts';
import { choice, fields, list, nameText } from './fields.ts';
import { count, flag, pattern, secretText } from './scalars.ts';
import { address } from './schema-parts.ts';
import { AUTHS, WIRE_FAMILIES } from './wires.ts';

/** Where requests go: upstreams and routes. */

/** Set by the gateway or by HTTP itself: a configured value would break the request. */
const HEADERS_OF_OURS: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'proxy-connection'],
  ...['content-length', 'content-encoding', 'content-type', 'accept-encoding', 'expect', 'traceparent'],
]);

const headers = z
  .record(
    z
      .string()
      .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, { error: 'is no name of a header' })
      .refine((name) => !HEADERS_OF_OURS.has(name.toLowerCase()), { error: 'is set by the gateway itself' }),
    z
      .string({ error: 'must be text' })
      .regex(/^[\t\x20-\x7e\x80-\xff]*$/, { error: 'has characters that a header cannot have' }),
    { error: 'must be a map from names to values' },
  )
  .describe('Extra headers of every request to it.');

/** Every call of an agent has these by itself. */
const UNITS_OF_OURS: ReadonlySet<string> = new Set(['calls', 'duration_ms', 'bytes_in', 'bytes_out']);
const QUANTITY_MAX = 10n ** 15n;

const unitSource = fields({
  unit: choice(UNITS)
    .refine((unit) => !UNITS_OF_OURS.has(unit), { error: 'is metered by the gateway itself' })
    .describe('What the value counts.'),
  header: z
    .string({ error: 'must be the name of a header' })
    .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, { error: 'is no name of a header' })
    .optional()
    .describe('The header of the answer that holds the value.'),
  json: valuePath().optional().describe('Where it stands in an answer of JSON: `usage.units`.'),
  event: valuePath().optional().describe('Where it stands in the data of events; the last one counts.'),
  max: count(1n, QUANTITY_MAX).describe('The most that one call comes to: what a budget holds for it.'),
}).refine(({ header, json, event }) => [header, json, event].filter((one) => one !== undefined).length === 1, {
  error: 'must have one of `header`, `json` and `event`',
});

function valuePath() {
  return z
    .string({ error: 'must be a path such as usage.units' })
    .regex(/^[A-Za-z0-9_-]+(\[\])?(\.[A-Za-z0-9_-]+(\[\])?)*$/, { error: 'is no path such as usage.units' });
}

export const upstream = fields({
  wire: choice(WIRE_FAMILIES)
    .optional()
    .describe('The API that it speaks at its address; all that its provider has an address for when absent.'),
  base_url: address
    .optional()
    .describe("Its address, as the API's own SDK takes it (with `/v1` for `openai`); the provider's own when absent."),
  base_urls: z
    .partialRecord(z.enum(WIRE_FAMILIES, { error: `must be ${WIRE_FAMILIES.join(' or ')}` }), address, {
      error: 'must be a map from wires to addresses',
    })
    .optional()
    .describe('For an upstream that speaks several: its address for each wire, in place of `wire` and `base_url`.'),
  provider: nameText('a provider')
    .optional()
    .describe('Whose models and prices apply; known by itself for the well-known addresses and names.'),
  region: z
    .string({ error: 'must be the name of a region' })
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, { error: 'must be the name of a region, such as eu or us-east-1' })
    .optional()
    .describe('Where its models run, for prices that hang on it; what its address says when absent.'),
  key: secretText('must be text without blanks', (text) => /^[\x21-\x7e]{1,4096}$/.test(text))
    .optional()
    .describe('Our credential there. From the environment, or with `allow_plaintext_secrets`.'),
  auth: choice(AUTHS)
    .optional()
    .describe("The header that `key` is put into (`bearer`: `authorization`); the API's own place when absent."),
  headers: headers.optional(),
  models: list(pattern())
    .optional()
    .describe("Models that it serves, as patterns; the catalogue's for its provider when absent."),
  include_usage: flag(true)
    .optional()
    .describe(
      'Ask streams for their usage. Off for servers that refuse `stream_options`: usage is then estimated where they send none. Off by itself for Mistral, which sends it unasked.',
    ),
  units: list(unitSource, 32)
    .optional()
    .describe('Of an agent (`wire: agent`): the units that its answers state, and where.'),
  passthrough: flag(false)
    .optional()
    .describe(
      'Let `/u/NAME/…` reach what Weir has no wire for. Such calls are counted and marked as unpriced; keys with a budget may not make them.',
    ),
});

const target = (withWeight: boolean) =>
  z.union([
    nameText('an upstream'),
    fields({
      upstream: nameText('an upstream').describe('An upstream of this file.'),
      model: pattern()
        .optional()
        .describe('Name under which that upstream knows the model; the name asked for when absent.'),
      ...(withWeight && {
        weight: count(0n, BigInt(WEIGHT_MAX))
          .optional()
          .describe('Share of the calls; 0 is never chosen.')
          .meta({ initial: 1 }),
      }),
    }),
  ]);

export const route = fields({
  model: pattern().describe('Models that this rule is for. The first rule that matches holds.'),
  to: list(target(true))
    .min(1, { error: 'must name at least one upstream' })
    .describe('Upstreams of which one is chosen by weight.'),
  fallback: list(target(false)).optional().describe('Upstreams that are tried after it, in this order.'),
});

export type UpstreamFile = z.output<typeof upstream>;
export type RouteFile = z.output<typeof route>;
