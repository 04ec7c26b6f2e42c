import { type ModelPrices, type PriceSheet, type Prices, parsePrice } from '#core/price.ts';
import { COST_CURRENCY, timeOfDay } from './catalogue.ts';
import { feesOf, withInputPrices } from './input-prices.ts';
import type { ModelOverride } from './price-book.ts';
import type { ModelFile } from './schema-models.ts';

type PriceFile = NonNullable<ModelFile['prices']>;
type TierFile = NonNullable<ModelFile['tiers']>;

export function compileOverride(file: ModelFile): ModelOverride {
  const from = file.from;
  return {
    provider: file.provider ?? null,
    upstream: file.upstream ?? null,
    customer: file.customer ?? null,
    model: file.model,
    fromMs: from === undefined ? null : 'day' in from ? Date.parse(`${from.day}T00:00:00Z`) : from.atMs,
    contextTokens: file.context_tokens ?? null,
    outputTokensMax: file.output_tokens_max ?? null,
    prices: file.prices ? compilePrices(file, file.prices) : null,
    factor: file.factor ?? null,
    holdOnly: file.hold_only ?? false,
  };
}

function compilePrices(file: ModelFile, prices: PriceFile): ModelPrices {
  const standard = compileSheet(prices, file.tiers ?? [], null);
  const services = Object.entries(file.services ?? {}).map(([name, service]) => [
    name,
    compileSheet(service.prices, service.tiers ?? [], standard.prices),
  ]);
  const of = (sheet: PriceSheet): ModelPrices => ({
    currency: COST_CURRENCY,
    standard: sheet,
    services: Object.fromEntries(services),
    regions: file.regions ?? {},
  });
  const daily = file.daily?.map((one) => ({
    fromMs: timeOfDay(one.from),
    toMs: timeOfDay(one.to),
    prices: of(compileSheet(one.prices, one.tiers ?? [], null)),
  }));
  return { ...of(standard), ...(daily && { daily }) };
}

/** `standard`: the prices of the standard service, for a service beside it. */
function compileSheet(prices: PriceFile, tiers: TierFile, standard: Prices | null): PriceSheet {
  const own = { ...(standard && feesOf(standard)), ...pricesOf(prices, null) };
  const variants = new Set(prices.flatMap(({ variant }) => variant ?? []));
  return {
    prices: withInputPrices(own),
    tiers: tiers.map((tier) => ({
      aboveInputTokens: tier.above_input_tokens,
      prices: withInputPrices(pricesOf(tier.prices, null), own),
    })),
    inputTokensMax: null,
    variants: Object.fromEntries([...variants].map((variant) => [variant, pricesOf(prices, variant)])),
  };
}

function pricesOf(prices: PriceFile, variant: string | null): Prices {
  return Object.fromEntries(
    prices.flatMap((one) => {
      if ((one.variant ?? null) !== variant) return [];
      const price = parsePrice(one.amount.text, one.per ?? 1n);
      if (!price) throw new Error(`not a price: ${one.amount.text}`);
      return [[one.unit, price]];
    }),
  );
}
