import type { Hold, Reservation } from './counters.ts';

/** A reservation as JSON; bigints as decimal text. What only a reserve needs (`series`) is left out: it is settled from here. */
export function encodeReservation(reservation: Reservation): string {
  const holds = new Array<HoldJson>(reservation.holds.length);
  for (let i = 0; i < holds.length; i++) holds[i] = encodeHold(reservation.holds[i] as Hold);
  return JSON.stringify({ ...reservation, holds });
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

type TextFor<T> = { [K in keyof T]: T[K] extends bigint ? string : T[K] };
type QuotaJson = TextFor<Omit<Hold & { kind: 'quota' }, 'warnAt' | 'series'>> & { warnAt?: string };
type HoldJson = TextFor<Exclude<Hold, { kind: 'quota' }>> | QuotaJson;

function encodeHold(hold: Hold): HoldJson {
  const { counter } = hold;
  const amount = hold.amount.toString();
  const limit = hold.limit.toString();
  const soft = hold.soft ? ({ soft: true } as const) : undefined;
  switch (hold.kind) {
    case 'rate':
      return {
        kind: hold.kind,
        counter,
        amount,
        limit,
        burst: hold.burst.toString(),
        windowMs: hold.windowMs,
        counted: hold.counted,
        ...soft,
      };
    case 'concurrency':
      return { kind: hold.kind, counter, amount, limit, ...soft };
    case 'quota':
      return {
        kind: hold.kind,
        counter,
        amount,
        limit,
        expiresAtMs: hold.expiresAtMs,
        ...soft,
        ...(hold.warnAt && { warnAt: hold.warnAt.join(',') }),
      };
  }
}

function parseHold(hold: HoldJson): Hold {
  switch (hold.kind) {
    case 'rate':
      return { ...hold, amount: BigInt(hold.amount), limit: BigInt(hold.limit), burst: BigInt(hold.burst) };
    case 'concurrency':
      return { ...hold, amount: 1n, limit: BigInt(hold.limit) };
    case 'quota': {
      const { warnAt, ...quota } = hold;
      const amounts = { amount: BigInt(hold.amount), limit: BigInt(hold.limit) };
      return { ...quota, ...amounts, ...(warnAt !== undefined && { warnAt: parseUsed(warnAt) }) };
    }
  }
}
