import { Fault } from '#core/fault.ts';
import type { Crossing, Debt, HoldState, LiveReservation, ReserveAnswer, SettleAnswer } from './counters.ts';

/**
 * What the scripts of lua/ answer: flat lists, in the order that their heads say. Numbers of steps that are frequent are
 * integers, which cost less to write and to read than text; those of others, and large ones, are text.
 */
type Part = number | string;

export function partsOf(reply: unknown): Part[] {
  if (Array.isArray(reply) && reply.every((part) => typeof part === 'number' || typeof part === 'string')) return reply;
  throw new Fault('limits_unavailable', { story: 'a script of the limits answered something else' });
}

/** A place, a count or a time: no amount. */
export function smallOf(part: Part | undefined): number {
  return typeof part === 'number' ? part : Number.parseInt(part ?? '', 10);
}

const NONE: readonly never[] = [];
const SETTLED: SettleAnswer = { settled: true, crossed: NONE, over: NONE };
const NOT_SETTLED: SettleAnswer = { settled: false, crossed: NONE, over: NONE };

export function reserveAnswerOf(reply: unknown, holds: number): ReserveAnswer {
  const parts = partsOf(reply);
  const states = new Array<HoldState>(holds);
  for (let i = 0; i < holds; i++) {
    const wait = smallOf(parts[i * 3 + 3]);
    states[i] = {
      used: BigInt(parts[i * 3 + 1] as Part),
      held: BigInt(parts[i * 3 + 2] as Part),
      fits: wait === 0,
      waitMs: wait < 0 ? null : wait,
    };
  }
  const unknown = placesAt(parts, holds * 3 + 1);
  const crossed = crossingsAt(parts, holds * 3 + 2 + unknown.length);
  return { admitted: smallOf(parts[0]) === 1, states, crossed, unknown };
}

export function settleAnswerOf(reply: unknown): SettleAnswer {
  if (reply === 1) return SETTLED;
  if (reply === 0) return NOT_SETTLED;
  const parts = partsOf(reply);
  const over = placesAt(parts, 1);
  return { settled: true, over, crossed: crossingsAt(parts, 2 + over.length) };
}

/** A number, and as many places behind it. */
function placesAt(parts: readonly Part[], at: number): readonly number[] {
  const count = smallOf(parts[at]);
  return count === 0 ? NONE : parts.slice(at + 1, at + 1 + count).map(smallOf);
}

function crossingsAt(parts: readonly Part[], at: number): readonly Crossing[] {
  if (at >= parts.length) return NONE;
  const crossed: Crossing[] = [];
  for (let i = at; i < parts.length; i += 2) {
    crossed.push({ index: smallOf(parts[i]), threshold: BigInt(parts[i + 1] as Part) });
  }
  return crossed;
}

export function livesOf(reply: unknown): LiveReservation[] {
  const parts = partsOf(reply);
  const found: LiveReservation[] = [];
  for (let at = 0; at < parts.length; ) {
    const [id = '', untilMs, count] = parts.slice(at, at + 3);
    at += 3;
    const holds: { counter: string; amount: bigint }[] = [];
    for (let i = 0; i < smallOf(count); i++, at += 2) {
      const [counter = '', amount = ''] = parts.slice(at, at + 2);
      holds.push({ counter: String(counter), amount: BigInt(amount) });
    }
    found.push({ id: String(id), untilMs: smallOf(untilMs), holds });
  }
  return found;
}

export function debtsOf(parts: readonly Part[]): Debt[] {
  const found: Debt[] = [];
  for (let at = 0; at < parts.length; at += 3) {
    const [counter = '', limit = '', used = ''] = parts.slice(at, at + 3);
    found.push({ counter: String(counter), limit: BigInt(limit), used: BigInt(used) });
  }
  return found;
}
