import { COUNTER_MAX, type Hold, type Reservation } from './counters.ts';
import { LEASE_MS_MAX } from './limit-state.ts';

/** Bugs in a caller, not refusals: thrown before anything is decided. */

export function assertReservation({ id, leaseMs, holds }: Reservation): void {
  if (id === '') throw new RangeError('a reservation needs an id');
  if (!Number.isSafeInteger(leaseMs) || leaseMs <= 0 || leaseMs > LEASE_MS_MAX)
    throw new RangeError(`lease ${leaseMs}`);
  for (let i = 0; i < holds.length; i++) {
    const hold = holds[i] as Hold;
    assertCounter(hold.counter);
    let amountsCount = isCount(hold.amount) && isCount(hold.limit);
    if (hold.kind === 'rate') {
      if (!Number.isSafeInteger(hold.windowMs) || hold.windowMs <= 0) throw new RangeError(`window ${hold.windowMs}`);
      amountsCount &&= isCount(hold.burst) && isCount(hold.burst * BigInt(hold.windowMs));
    }
    if (hold.kind === 'quota' && !Number.isSafeInteger(hold.expiresAtMs))
      throw new RangeError(`end of ${hold.counter}`);
    if (!amountsCount) throw new RangeError(`amounts of ${hold.counter}`);
    for (let j = 0; j < i; j++) {
      if (holds[j]?.counter === hold.counter) throw new RangeError(`${hold.counter} is held twice`);
    }
  }
}

/**
 * Names of counters stand beside `@` and `#` in a store's tables, and as they are in its texts. Whoever makes one encodes
 * what callers bring (`policy.ts`).
 */
export function assertCounter(name: string): void {
  const first = name.charCodeAt(0);
  const isFit = first !== 35 && first !== 64 && name !== '' && !name.includes('"') && !name.includes('\\');
  if (!isFit) throw new RangeError(`a counter named ${JSON.stringify(name)}`);
}

/** One amount for each hold, none negative. What is too large is a provider's nonsense and counts as COUNTER_MAX. */
export function assertUsed({ holds }: Reservation, used: readonly bigint[]): void {
  if (used.length !== holds.length) throw new RangeError(`${used.length} amounts for ${holds.length} holds`);
  if (used.some((amount) => amount < 0n)) throw new RangeError('a negative amount was used');
}

/** What an extension asks for: one amount for each hold, as large as a counter at most. */
export function assertAmounts({ holds }: Reservation, amounts: readonly bigint[]): void {
  if (amounts.length !== holds.length) throw new RangeError(`${amounts.length} amounts for ${holds.length} holds`);
  if (!amounts.every(isCount)) throw new RangeError('an amount to hold is out of bounds');
}

function isCount(amount: bigint): boolean {
  return amount >= 0n && amount <= COUNTER_MAX;
}
