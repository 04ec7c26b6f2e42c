import { z } from 'zod';
import { INPUT_TOKEN_UNITS, OUTPUT_TOKEN_UNITS, type Quantities } from '#core/quantity.ts';
import type { UsageEventData } from '#core/usage-event.ts';
import { WIRES } from '#proxy/wire/wires.ts';

/** What a manifest expects, compared with a usage event. */
export type Comparison = { unsupported: string } | { wrong: readonly string[] };

const INPUT = INPUT_TOKEN_UNITS;
const OUTPUT = OUTPUT_TOKEN_UNITS;
const CACHE_WRITE = ['cache_write_tokens', 'cache_write_5m_tokens', 'cache_write_1h_tokens'];

type Read = (data: UsageEventData) => unknown;

/** Where each expected figure stands in an event. Reasoning is part of the output and stays in the provider's own object. */
const FIGURES: Readonly<Record<string, Read>> = {
  input_tokens_total: sum(INPUT),
  output_tokens_total: sum(OUTPUT),
  input_uncached: sum(['input_tokens']),
  cache_read: sum(['cache_read_tokens']),
  cache_write: sum(CACHE_WRITE),
  audio_seconds: sum(['audio_seconds']),
  input_text: sum(['input_tokens']),
  output_text: sum(['output_tokens']),
  input_audio: sum(['input_audio_tokens']),
  output_audio: sum(['output_audio_tokens']),
  web_search_requests: sum(['web_searches']),
  billable_web_searches: sum(['web_searches']),
  reasoning: (data) =>
    raw('completion_tokens_details', 'reasoning_tokens')(data) ??
    raw('output_tokens_details', 'reasoning_tokens')(data),
  completion_tokens: raw('completion_tokens'),
  candidates: raw('candidatesTokenCount'),
  thoughts: raw('thoughtsTokenCount'),
  tokens_input: raw('tokens', 'input_tokens'),
  tokens_output: raw('tokens', 'output_tokens'),
  cached: raw('cached_tokens'),
  cache_write_5m_known: raw('cache_creation', 'ephemeral_5m_input_tokens'),
  cache_write_ttl_unknown: (data) =>
    Number(raw('cache_creation_input_tokens')(data)) -
    Number(raw('cache_creation', 'ephemeral_5m_input_tokens')(data)) -
    Number(raw('cache_creation', 'ephemeral_1h_input_tokens')(data)),
  provider_cost_usd: ({ cost }) => cost?.amount,
};

/** What an answer consists of: nothing is billed by it, and what is has a figure of its own. */
const CONTENTS: ReadonlySet<string> = new Set(['web_search_call_items', 'web_search_actions']);

/** Units that the documentation does not give the wire. */
export function undeclaredUnits({ wire: name, quantities }: UsageEventData): string[] {
  const units: readonly string[] = WIRES.find((wire) => wire.name === name)?.facts.units ?? [];
  return Object.keys(quantities).filter((unit) => unit !== 'calls' && !units.includes(unit));
}

/** What each model of several is to have used; the one that was asked for has a name of its own there. */
const REQUEST_MODEL = '(request model)';

function comparePerModel(expected: unknown, { parts = [], model }: UsageEventData): string[] {
  const wanted = z.record(z.string(), z.object({ input: z.number(), output: z.number() })).parse(expected);
  const got = Object.fromEntries(
    parts.map((part) => [
      part.model === model ? REQUEST_MODEL : part.model,
      { input: sumOf(part.quantities, INPUT).toString(), output: sumOf(part.quantities, OUTPUT).toString() },
    ]),
  );
  return Object.entries(wanted).flatMap(([name, { input, output }]) => [
    ...differs(`input of ${name}`, got[name]?.input ?? 'none', String(input)),
    ...differs(`output of ${name}`, got[name]?.output ?? 'none', String(output)),
  ]);
}

export function compareUsage(
  expected: Readonly<Record<string, unknown>> | null,
  status: number,
  data: UsageEventData,
): Comparison {
  if (expected === null) return { wrong: status >= 400 ? compareFailed(data) : compareUnknown(data) };
  // A text in the place of a figure is a remark for people.
  const { per_model: perModel, ...others } = expected;
  const figures = Object.entries(others).filter(
    ([name, value]) => !CONTENTS.has(name) && (typeof value !== 'string' || /^\d/.test(value)),
  );
  const unread = figures.map(([name]) => name).filter((name) => FIGURES[name] === undefined);
  if (unread.length > 0) return { unsupported: `an event does not hold ${unread.join(', ')}` };
  const wrong = figures.flatMap(([name, value]) => {
    const got = FIGURES[name]?.(data) ?? 0;
    return String(got) === String(value) ? [] : [`${name}: got ${got}, wanted ${value}`];
  });
  return {
    wrong: [
      ...wrong,
      ...undeclaredUnits(data).map((unit) => `${unit}: docs/wires.md does not give it to ${data.wire}`),
      ...(perModel === undefined ? [] : comparePerModel(perModel, data)),
      ...differs('usage_status', data.usage_status, 'final'),
      ...differs('outcome', data.outcome, 'ok'),
    ],
  };
}

/** Nothing was served: nothing is billed. */
function compareFailed(data: UsageEventData): string[] {
  return [
    ...differs('usage_status', data.usage_status, 'none'),
    ...differs('outcome', data.outcome, 'failed'),
    ...differs('quantities', JSON.stringify(data.quantities), '{}'),
  ];
}

/** Something was served and nobody said how much: it is estimated, and says so. */
function compareUnknown(data: UsageEventData): string[] {
  const output = sum(OUTPUT)(data);
  return [
    ...differs('usage_status', data.usage_status, 'estimated'),
    ...differs('outcome', data.outcome, 'ok'),
    ...(output > 0n ? [] : ['output_tokens: got none, wanted an estimate']),
  ];
}

function differs(name: string, got: string, wanted: string): string[] {
  return got === wanted ? [] : [`${name}: got ${got}, wanted ${wanted}`];
}

function sum(units: readonly string[]): (data: UsageEventData) => bigint {
  return ({ quantities }) => sumOf(quantities, units);
}

function sumOf(quantities: Quantities, units: readonly string[]): bigint {
  return units.reduce((total, unit) => total + BigInt(quantities[unit] ?? '0'), 0n);
}

function raw(...path: readonly string[]): Read {
  return ({ raw_usage }) =>
    path.reduce<unknown>(
      (value, key) =>
        typeof value === 'object' && value !== null ? Object.entries(value).find(([k]) => k === key)?.[1] : undefined,
      raw_usage,
    );
}

/**
 * The bytes that a client gets who did not ask for usage in its stream: the recorded ones, as they would have been had
 * the gateway not asked for it either.
 */
export function withoutUsage(stream: string): string {
  return stream
    .split(/(?<=\n\n)/)
    .filter((event) => {
      const chunk = dataOf(event);
      return !(chunk?.usage && Array.isArray(chunk.choices) && chunk.choices.length === 0);
    })
    .map((event) => (dataOf(event)?.usage === null ? event.replace(/"usage":null,|,"usage":null/, '') : event))
    .join('');
}

function dataOf(event: string): { usage?: unknown; choices?: unknown } | undefined {
  const text = event.replace(/^data:/, '').trim();
  return text.startsWith('{') ? JSON.parse(text) : undefined;
}
