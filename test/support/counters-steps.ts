import type { CounterState, Reservation, ReserveAnswer } from '#proxy/limits/counters.ts';
import type { Spent } from './spend.ts';

/** One verb of the counters as a test sends it to a worker, and what comes back; bigints in JSON. */
export type Step = { customer: string; clockMs: number | null } & (
  | { verb: 'reserve' | 'release'; reservation: Reservation }
  | { verb: 'settle' | 'open'; reservation: Reservation; used: readonly bigint[]; event: string }
  | { verb: 'seed'; counter: string; used: bigint; expiresAtMs: number }
  | { verb: 'read'; counter: string }
  | { verb: 'ring' | 'look' | 'spend' }
);

export type StepValue = ReserveAnswer | CounterState | Kept | Spent | boolean | undefined;

export type StepAnswer = { value: StepValue } | { error: { message: string; code: string | undefined } };

/** What an object keeps: rows by table. */
export type Kept = Record<string, number>;

export function encodeBigints(value: unknown): string {
  return JSON.stringify(value, (_, field) => (typeof field === 'bigint' ? { $bigint: field.toString() } : field));
}

export function parseBigints<Value>(text: string): Value {
  return JSON.parse(text, (_, field) => {
    return typeof field?.$bigint === 'string' ? BigInt(field.$bigint) : field;
  });
}
