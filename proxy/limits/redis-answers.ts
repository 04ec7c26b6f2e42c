import { Fault } from '#core/fault.ts';
import type { Crossing, Debt, HoldState, LiveReservation, ReserveAnswer, SettleAnswer } from './counters.ts';

/** What the scripts of lua/ answer: flat lists of text, in the order that their heads say. */

export function textsOf(reply: unknown): string[] {
  if (Array.isArray(reply) && reply.every((part) => typeof part === 'string')) return reply;
  throw new Fault('limits_unavailable', { story: 'a script of the limits answered something else' });
}

const NONE: readonly never[] = [];

export function reserveAnswerOf(reply: readonly string[], holds: number): ReserveAnswer {
  const states = new Array<HoldState>(holds);
  for (let i = 0; i < holds; i++) {
    const [used = '', held = '', wait = ''] = (reply[i + 1] as string).split(' ');
    const fits = wait === '';
    states[i] = { used: BigInt(used), held: BigInt(held), fits, waitMs: fits ? 0 : wait === 'n' ? null : Number(wait) };
  }
  const unknown = placesAt(reply, holds + 1);
  const crossed = crossingsAt(reply, holds + 2 + unknown.length);
  return { admitted: reply[0] === '1', states, crossed, unknown };
}

export function settleAnswerOf(reply: readonly string[]): SettleAnswer {
  const over = placesAt(reply, 1);
  return { settled: reply[0] === '1', over, crossed: crossingsAt(reply, 2 + over.length) };
}

/** A number, and as many places behind it. */
function placesAt(reply: readonly string[], at: number): readonly number[] {
  const count = Number(reply[at]);
  return count === 0 ? NONE : reply.slice(at + 1, at + 1 + count).map(Number);
}

function crossingsAt(reply: readonly string[], at: number): readonly Crossing[] {
  if (at >= reply.length) return NONE;
  const crossed: Crossing[] = [];
  for (let i = at; i < reply.length; i += 2) {
    crossed.push({ index: Number(reply[i]), threshold: BigInt(reply[i + 1] as string) });
  }
  return crossed;
}

export function livesOf(reply: readonly string[], keyPrefix: string): LiveReservation[] {
  const found: LiveReservation[] = [];
  for (let at = 0; at < reply.length; ) {
    const [id = '', untilMs = '', count = ''] = reply.slice(at, at + 3);
    at += 3;
    const holds: { counter: string; amount: bigint }[] = [];
    for (let i = 0; i < Number(count); i++, at += 2) {
      const [key = '', amount = ''] = reply.slice(at, at + 2);
      holds.push({ counter: key.slice(keyPrefix.length), amount: BigInt(amount) });
    }
    found.push({ id, untilMs: Number(untilMs), holds });
  }
  return found;
}

export function debtsOf(reply: readonly string[], keyPrefix: string): Debt[] {
  const found: Debt[] = [];
  for (let at = 0; at < reply.length; at += 3) {
    const [key = '', limit = '', used = ''] = reply.slice(at, at + 3);
    found.push({ counter: key.slice(keyPrefix.length), limit: BigInt(limit), used: BigInt(used) });
  }
  return found;
}
