import { z } from 'zod';
import { parseExact } from '#core/exact.ts';
import { UNITS } from '#core/quantity.ts';
import { WIRE_FAMILIES } from '../wires.ts';

/**
 * What the files of the catalogue hold. Prices are decimal text for every 1,000,000 of the unit, or for as many as they
 * say; every row names where it was read, so that anyone can check it against the provider's own page.
 */
const amount = z.string().refine((text) => (parseExact(text)?.num ?? -1n) >= 0n, 'not a decimal amount');
const price = z.union([amount, z.strictObject({ amount, per: z.string().regex(/^[1-9]\d*$/) })]);
const date = z.string().regex(/^\d{4}-\d{2}-\d{2}$/);
const time = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/);
const prices = z.partialRecord(z.enum(UNITS), price);
const tiers = z.array(z.strictObject({ above_input_tokens: z.number().int().positive(), prices }));

/** Prices of a service tier. Tokens that it does not name, and the standard service does, have no known price in it. */
const service = z.strictObject({
  prices,
  tiers,
  /** Requests with more input have no known price in this service. */
  input_tokens_max: z.number().int().positive().optional(),
  source: z.string().min(1),
});

const period = z.strictObject({
  /** First day (UTC) on which these prices hold; null for ever before the next period. */
  from: date.nullable(),
  prices,
  tiers,
  services: z.record(z.string(), service).optional(),
  /** What the price of a token is multiplied by, by region of inference. */
  regions: z.record(z.string(), amount).optional(),
  /** Other prices of the standard service at hours of every day (UTC), `to` excluded. */
  daily: z.array(z.strictObject({ from: time, to: time, prices, tiers })).optional(),
  source: z.string().min(1),
  /** True where the price was read in a secondary source, not in the provider's list or a maintained copy of it. */
  secondary_source: z.boolean(),
  note: z.string().optional(),
});

/** Names that a model goes by, beside its own. */
const match = z.strictObject({
  equals: z.array(z.string()).optional(),
  starts_with: z.array(z.string()).optional(),
  contains: z.array(z.string()).optional(),
  regex: z.array(z.string()).optional(),
});

const model = z.strictObject({
  model: z.string().min(1),
  mode: z.string().nullable(),
  context_tokens: z.number().int().positive().nullable(),
  output_tokens_max: z.number().int().nonnegative().nullable(),
  match,
  periods: z.array(period).min(1),
});

export const catalogueFile = z.strictObject({
  provider: z.string(),
  currency: z.literal('USD'),
  per: z.literal(1_000_000),
  models: z.array(model),
});

export const providersFile = z.strictObject({
  /** Names this state of all files of the catalogue; a cost names it. Date, and the start of their SHA-256. */
  version: z.string(),
  providers: z.array(
    z.strictObject({
      provider: z.string(),
      name: z.string(),
      /** Other names under which people know it. */
      aliases: z.array(z.string()),
      /** Hosts of its API; `{region}` stands for the region that a host is in. */
      hosts: z.array(z.string()),
      /** Where it speaks each family of wires. */
      base_urls: z.partialRecord(z.enum(WIRE_FAMILIES), z.url()),
      /** False where it refuses streams that ask for their usage, and sends it unasked. */
      include_usage: z.boolean().optional(),
    }),
  ),
});

export type CatalogueFile = z.infer<typeof catalogueFile>;
export type CatalogueModel = CatalogueFile['models'][number];
export type CataloguePeriod = CatalogueModel['periods'][number];
export type CatalogueService = z.infer<typeof service>;
export type CataloguePrices = CataloguePeriod['prices'];
export type CatalogueTiers = CataloguePeriod['tiers'];
