import { add, formatExact, formatScaled, parseExact } from '#core/exact.ts';
import { isObject } from './bytes.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What a usage object, of whichever API, says that the call costs: plain decimals of a dollar. */
export function statedCost(raw: Fields): string | undefined {
  return costOfTicks(raw.cost_in_usd_ticks) ?? costSaid(raw);
}

/** xAI states what a call costs, its tools included, in parts of 10^-10 of a dollar. */
function costOfTicks(ticks: unknown): string | undefined {
  const isCount = typeof ticks === 'number' && Number.isSafeInteger(ticks) && ticks >= 0;
  return isCount ? formatScaled(BigInt(ticks), TICKS_SCALE) : undefined;
}

const TICKS_SCALE = 10;

/**
 * OpenRouter's, with what the operator's own key paid behind it (`is_byok`), and Perplexity's, its fee for a search
 * included. A `cost` that says nothing else may be of anybody, in anything.
 */
function costSaid({ cost, is_byok: isByok, cost_details: details }: Fields): string | undefined {
  if (isObject(cost)) return decimalOf(cost.total_cost);
  if (typeof isByok !== 'boolean') return undefined;
  const own = decimalOf(cost);
  if (own === undefined || !isByok) return own;
  // What an own key paid that nobody states is no zero.
  const behind = isObject(details) ? decimalOf(details.upstream_inference_cost) : undefined;
  return behind === undefined ? undefined : sumOf(own, behind);
}

function sumOf(a: string, b: string): string | undefined {
  const [one, other] = [parseExact(a), parseExact(b)];
  return one && other && formatExact(add(one, other));
}

const NUMBER = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/;

/** As it was written: the shortest text of a number is that, as long as it has no more than 15 digits. */
function decimalOf(value: unknown): string | undefined {
  const [, whole, part = '', exponent = '0'] = NUMBER.exec(typeof value === 'number' ? String(value) : '') ?? [];
  if (whole === undefined) return undefined;
  const scale = part.length - Number(exponent);
  const digits = BigInt(whole + part);
  return scale >= 0 ? formatScaled(digits, scale) : (digits * 10n ** BigInt(-scale)).toString();
}
