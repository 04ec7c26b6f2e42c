import { add, ceil, type Exact, getExact, multiply, ZERO } from '#core/exact.ts';
import { modelAllowed } from '#core/key-policy.ts';
import { NANOS_PER_UNIT } from '#core/money.ts';
import { priceOf } from '#core/price.ts';
import { TOKEN_UNITS, type Unit } from '#core/quantity.ts';
import { linearPrices } from './measure.ts';
import { dimensionOf, type SeriesOrigin } from './policy.ts';

/** What billing says that calls have used, by model. Decimals as text. */
export interface ModelUse {
  readonly model: string;
  readonly events: string;
  readonly quantities: Readonly<Record<string, string>>;
  readonly costs: readonly { amount: string; currency: string }[];
}

/** Which calls billing is asked about, beside those of customer and key: as `where` of /v1/usage/since. Undefined for all. */
export function whereOf({ limit, value = null }: SeriesOrigin): object | undefined {
  const dimension = dimensionOf(limit);
  const own =
    dimension === 'user' || dimension === 'session'
      ? { [dimension]: value }
      : dimension?.startsWith('label:')
        ? { labels: { ...limit.labels, [dimension.slice('label:'.length)]: value } }
        : {};
  const where = { ...(limit.labels && { labels: limit.labels }), ...own };
  return Object.keys(where).length === 0 ? undefined : where;
}

/** What a limit would have counted of it, rounded up. Calls whose cost is not known cost nothing here: billing has none of them. */
export function usedSince({ limit, value }: SeriesOrigin, uses: readonly ModelUse[]): bigint {
  const counted = uses.filter(
    ({ model }) => modelAllowed(limit.models ?? [], model) && (dimensionOf(limit) !== 'model' || model === value),
  );
  const measure = measureOf(limit);
  return ceil(counted.reduce((sum, use) => add(sum, measure(use)), ZERO));
}

function measureOf(limit: SeriesOrigin['limit']): (use: ModelUse) => Exact {
  if (limit.kind === 'tokens') return ({ quantities }) => total(quantities, (unit) => TOKEN_UNITS.has(unit));
  if (limit.kind === 'quantity') return ({ quantities }) => total(quantities, (unit) => unit === limit.unit);
  if (limit.kind !== 'budget') return ({ events }) => getExact(events);
  if (limit.basis === 'price') return ({ model, quantities }) => priced(limit, model, quantities);
  return ({ costs }) =>
    costs
      .filter(({ currency }) => currency === limit.currency)
      .reduce((sum, { amount }) => add(sum, multiply(getExact(amount), { num: NANOS_PER_UNIT, den: 1n })), ZERO);
}

function total(quantities: ModelUse['quantities'], isCounted: (unit: string) => boolean): Exact {
  let sum = ZERO;
  for (const [unit, quantity] of Object.entries(quantities)) if (isCounted(unit)) sum = add(sum, getExact(quantity));
  return sum;
}

function priced(limit: SeriesOrigin['limit'], model: string, quantities: ModelUse['quantities']): Exact {
  const { prices } = linearPrices(limit.prices ?? [], model).standard;
  let sum = ZERO;
  for (const [unit, quantity] of Object.entries(quantities)) {
    const price = prices[unit as Unit];
    if (price) sum = add(sum, priceOf(getExact(quantity), price));
  }
  return sum;
}
