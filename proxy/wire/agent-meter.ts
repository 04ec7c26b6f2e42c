import type { UnitSource } from '#config/config.ts';
import type { Unit } from '#core/quantity.ts';
import { headerOf } from '../headers.ts';
import { parseBytes } from './bytes.ts';
import { type Paths, pathsOf } from './json-path-tree.ts';
import { NOTHING_READ } from './json-rpc-meter.ts';
import { type AnswerReader, jsonMeter, sseMeter } from './paths-meter.ts';
import { SILENT_METER } from './unmetered.ts';
import { type AnswerHead, isEventStream, type Meter, type Reading } from './wire.ts';

const JSON_TYPE = /^application\/(\S+\+)?json\b/;

/**
 * Counts the bytes of an answer, and reads the units that the operator has said where to find. The last value of each
 * counts; what is no number counts as not stated, and marks the event as estimated.
 */
export function agentMeter(bytesIn: number, answer: AnswerHead): Meter {
  const sources = answer.from?.upstream.units ?? [];
  const values = new Map<Unit, bigint>();
  let bytesOut = 0;
  const from = isEventStream(answer)
    ? 'event'
    : JSON_TYPE.test(headerOf(answer.headers, 'content-type') ?? '')
      ? 'json'
      : null;
  for (const { unit, at } of sources.filter((one) => one.from === 'header')) {
    keep(unit, headerOf(answer.headers, at));
  }

  function keep(unit: Unit, value: unknown): void {
    const quantity = parseWhole(value);
    if (quantity !== undefined) values.set(unit, quantity);
  }

  function read(): Reading {
    if (answer.status >= 400) return NOTHING_READ;
    const counts: Partial<Record<Unit, bigint>> = { calls: 1n, bytes_in: BigInt(bytesIn), bytes_out: BigInt(bytesOut) };
    for (const [unit, quantity] of values) counts[unit] = quantity;
    const isSilent = sources.some(({ unit }) => !values.has(unit));
    return { ...NOTHING_READ, usage: { counts, raw: null, estimated: isSilent && !values.has('output_tokens') } };
  }

  const watched = sources.filter((one) => one.from === from);
  const reader: AnswerReader = {
    paths: pathsFor(watched),
    keep: (kept, bytes, start, end) => {
      const source = watched[kept];
      if (source) keep(source.unit, parseBytes(bytes, start, end));
    },
    read,
    breakOff: () => undefined,
  };
  const meter = watched.length === 0 ? SILENT_METER : from === 'event' ? sseMeter(reader) : jsonMeter(reader);
  return {
    ...meter,
    push(chunk) {
      bytesOut += chunk.length;
      return meter.push(chunk);
    },
    read,
  };
}

/** By the names of their paths, of which a configuration has few. */
const known = new Map<string, Paths>();
const KNOWN_MAX = 1_000;

function pathsFor(sources: readonly UnitSource[]): Paths {
  const key = sources.map(({ at }) => at).join(' ');
  const found = known.get(key) ?? pathsOf(sources.map(({ at }) => at));
  if (known.size < KNOWN_MAX) known.set(key, found);
  return found;
}

const DECIMAL = /^(\d{1,15})(?:\.(\d{1,18}))?$/;

/** A part of a whole one counts as one. */
function parseWhole(value: unknown): bigint | undefined {
  const [, whole, part = ''] =
    DECIMAL.exec(typeof value === 'number' ? String(value) : typeof value === 'string' ? value.trim() : '') ?? [];
  if (whole === undefined) return undefined;
  return BigInt(whole) + (/[1-9]/.test(part) ? 1n : 0n);
}
