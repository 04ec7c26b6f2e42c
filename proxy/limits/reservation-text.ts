import type { CountedIn, Hold, Reservation, Series } from './counters.ts';
import { holdTexts } from './hold-texts.ts';

/**
 * A reservation as JSON; bigints as decimal text. It is settled from here, so of a series it says only that there is one.
 * Every call writes one: text from its parts is made in half the time of an object and its text.
 */
export function encodeReservation({ id, customer, atMs, leaseMs, holds }: Reservation): string {
  let text = `{"id":${JSON.stringify(id)},"customer":${JSON.stringify(customer)},"atMs":${atMs},"leaseMs":${leaseMs},"holds":[`;
  for (let i = 0; i < holds.length; i++) text += (i === 0 ? '' : ',') + encodeHold(holds[i] as Hold);
  return `${text}]}`;
}

export function parseReservation(text: string): Reservation {
  const value: Omit<Reservation, 'holds'> & { holds: HoldJson[] } = JSON.parse(text);
  return { ...value, holds: value.holds.map(parseHold) };
}

/** Amounts by hold: decimal integers with commas between. */
export function encodeUsed(used: readonly bigint[]): string {
  return used.join(',');
}

export function parseUsed(text: string): bigint[] {
  return text === '' ? [] : text.split(',').map(BigInt);
}

/** The counters of a call whose counts are asked for when they are not known; empty where there are none. */
export function encodeCounts({ holds }: Reservation): string {
  let counts: [counter: string, expiresAtMs: number][] | undefined;
  for (const hold of holds) {
    if (hold.kind !== 'quota' || !hold.series) continue;
    counts ??= [];
    counts.push([hold.counter, hold.expiresAtMs]);
  }
  return counts ? JSON.stringify(counts) : '';
}

export function parseCounts(text: string): CountedIn[] {
  if (text === '') return [];
  const counts: [string, number][] = JSON.parse(text);
  return counts.map(([counter, expiresAtMs]) => ({ counter, expiresAtMs }));
}

type TextFor<T> = { [K in keyof T]: T[K] extends bigint ? string : T[K] };
type QuotaJson = TextFor<Omit<Hold & { kind: 'quota' }, 'warnAt' | 'series'>> & { warnAt?: string; series?: true };

/** Of a hold that comes from text. */
const SOME_SERIES: Series = { name: '', startMs: 0 };
type HoldJson = TextFor<Exclude<Hold, { kind: 'quota' }>> | QuotaJson;

/** As `HoldJson` has it. */
function encodeHold(hold: Hold): string {
  const { begin, end } = textsOf(hold);
  return begin + hold.amount + end;
}

const textsOf = holdTexts((hold) => ({
  begin: `{"kind":"${hold.kind}","counter":${JSON.stringify(hold.counter)},"amount":"`,
  end: `","limit":"${hold.limit}"${hold.soft ? ',"soft":true' : ''}${membersOf(hold)}}`,
}));

function membersOf(hold: Hold): string {
  if (hold.kind === 'concurrency') return '';
  if (hold.kind === 'rate') return `,"burst":"${hold.burst}","windowMs":${hold.windowMs},"counted":"${hold.counted}"`;
  const warnAt = hold.warnAt ? `,"warnAt":"${hold.warnAt.join(',')}"` : '';
  const currency = hold.currency === undefined ? '' : `,"currency":${JSON.stringify(hold.currency)}`;
  return `,"expiresAtMs":${hold.expiresAtMs}${warnAt}${currency}${hold.series ? ',"series":true' : ''}`;
}

function parseHold(hold: HoldJson): Hold {
  switch (hold.kind) {
    case 'rate':
      return { ...hold, amount: BigInt(hold.amount), limit: BigInt(hold.limit), burst: BigInt(hold.burst) };
    case 'concurrency':
      return { ...hold, amount: 1n, limit: BigInt(hold.limit) };
    case 'quota': {
      const { warnAt, series, ...quota } = hold;
      const amounts = { amount: BigInt(hold.amount), limit: BigInt(hold.limit) };
      const more = {
        ...(warnAt !== undefined && { warnAt: parseUsed(warnAt) }),
        ...(series && { series: SOME_SERIES }),
      };
      return { ...quota, ...amounts, ...more };
    }
  }
}
