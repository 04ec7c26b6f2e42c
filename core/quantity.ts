import { type Exact, parseExact } from './exact.ts';

/**
 * The units that Weir meters. They are disjoint: no unit is part of another, so a sum over units never counts a
 * token twice (providers differ in what their totals include; the wire files sort that out).
 */
export const UNITS = [
  'calls',
  'input_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'input_audio_tokens',
  'input_image_tokens',
  'output_tokens',
  'output_audio_tokens',
  'output_image_tokens',
  'images',
  'audio_seconds',
  'video_seconds',
  'characters',
  'web_searches',
  'tool_calls',
] as const;

export type Unit = (typeof UNITS)[number];

/** Units that a token limit counts, each once. */
export const TOKEN_UNITS: ReadonlySet<string> = new Set(UNITS.filter((unit) => unit.endsWith('_tokens')));

/** Quantities by unit in plain decimal notation, as they stand in events. A unit that is absent is zero. */
export type Quantities = Readonly<Record<string, string>>;

/** Whole quantities by unit, as the request path counts them. */
export type Counts = Readonly<Partial<Record<Unit, bigint>>>;

export function quantitiesOf(counts: Counts): Quantities {
  const quantities: Record<string, string> = {};
  for (const unit in counts) {
    const count = counts[unit as Unit];
    if (count !== undefined && count !== 0n) quantities[unit] = count.toString();
  }
  return quantities;
}

/** All tokens of a call, input and output, cached or not. */
export function tokensOf(counts: Counts): bigint {
  let total = 0n;
  for (const unit in counts) if (TOKEN_UNITS.has(unit)) total += counts[unit as Unit] ?? 0n;
  return total;
}

/** Parses one quantity of an event: a non-negative decimal. */
export function parseQuantity(text: string): Exact | undefined {
  const value = parseExact(text);
  return value && value.num >= 0n ? value : undefined;
}
