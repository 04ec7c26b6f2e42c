import type { Price, Prices } from '#core/price.ts';
import { TOKEN_UNITS, type Unit } from '#core/quantity.ts';

/**
 * What a unit of input costs where a list does not name it: providers name a price of its own only where it differs.
 * Output has no such rule, since audio and images cost a multiple of text there; a call that has them is unpriced instead.
 */
const PRICED_AS_INPUT: readonly Unit[] = [
  'cache_read_tokens',
  'input_audio_tokens',
  'input_image_tokens',
  'input_video_tokens',
];

/** Likewise, but only together: where one of them has a price, a write of another kind has one too that we do not know. */
const CACHE_WRITES: readonly Unit[] = [
  'cache_write_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'cache_write_12h_tokens',
];

/**
 * What is read from a cache costs as text read from one does, where the medium costs as text does; where it has a price
 * of its own and a discount for reading it from a cache is not known, it costs that.
 */
const CACHE_READS: readonly { readonly unit: Unit; readonly uncached: Unit }[] = [
  { unit: 'cache_read_audio_tokens', uncached: 'input_audio_tokens' },
  { unit: 'cache_read_image_tokens', uncached: 'input_image_tokens' },
  { unit: 'cache_read_video_tokens', uncached: 'input_video_tokens' },
];

/** `base` is what the prices stand above or beside (a tier's model, a service's standard): what that names keeps its price. */
export function withInputPrices(prices: Prices, base: Prices = {}): Prices {
  const input = prices.input_tokens;
  if (!input) return prices;
  const filled: Partial<Record<Unit, Price>> = { ...prices };
  const isNamed = (unit: Unit): boolean => prices[unit] !== undefined || base[unit] !== undefined;
  for (const unit of PRICED_AS_INPUT) if (!isNamed(unit)) filled[unit] = input;
  if (!CACHE_WRITES.some(isNamed)) for (const unit of CACHE_WRITES) filled[unit] = input;
  for (const { unit, uncached } of CACHE_READS) {
    const price = isNamed(uncached) ? filled[uncached] : filled.cache_read_tokens;
    if (price && !isNamed(unit)) filled[unit] = price;
  }
  return filled;
}

/** Prices of what is no token: fees of tools are the same in every service. */
export function feesOf(prices: Prices): Prices {
  return Object.fromEntries(Object.entries(prices).filter(([unit]) => !TOKEN_UNITS.has(unit)));
}
