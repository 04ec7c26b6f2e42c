import type {
  CounterState,
  Debt,
  LivePlace,
  LiveReservation,
  Reservation,
  ReserveAnswer,
  Seed,
  SettleAnswer,
} from '#proxy/limits/counters.ts';
import type { Spent } from './spend.ts';

/** One verb of the counters as a test sends it to a worker, and what comes back; bigints in JSON. */
export type Step = { customer: string; clockMs: number | null } & (
  | { verb: 'reserve' | 'release'; reservation: Reservation }
  | { verb: 'settle' | 'open'; reservation: Reservation; used: readonly bigint[]; event: string }
  | { verb: 'extend'; reservation: Reservation; amounts: readonly bigint[] }
  | { verb: 'seed'; seed: Seed }
  | { verb: 'listLive'; after: LivePlace | null; max: number }
  | { verb: 'listDebts'; after: string; max: number }
  | { verb: 'read'; counter: string }
  | { verb: 'ring' | 'look' | 'spend' }
);

export type StepValue =
  | ReserveAnswer
  | SettleAnswer
  | CounterState
  | LiveReservation[]
  | Debt[]
  | Kept
  | Spent
  | undefined;

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
