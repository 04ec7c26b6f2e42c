import type { KeyPolicy } from '#core/key-policy.ts';
import type { Hold, HoldState } from '../limits/counters.ts';
import { growsWithOutput, leftOf } from './holding.ts';

/** A call that needs no more than this share of what is left is held whole: many must come at once to use it up. */
const SHARE = 64n;
/** What a call holds first where nobody knows what is left, or where it is little. */
const PART_MIN = 256n;

interface Room {
  readonly counter: string;
  readonly free: bigint;
}

/**
 * What was left of each key's limits when they were last seen from here: a hint for how much a call holds at first, and
 * nothing more. Whether it may is the counters' to say.
 */
export class Rooms {
  readonly #seen = new WeakMap<KeyPolicy, Room[]>();

  /** How many output tokens a call holds at first, of those that it can come to when it holds `whole`. */
  firstPart(policy: KeyPolicy, whole: readonly Hold[], outputMax: bigint): bigint {
    const rooms = this.#seen.get(policy);
    let part = outputMax;
    for (let i = 0; i < whole.length; i++) {
      const hold = whole[i] as Hold;
      if (!growsWithOutput(hold) || hold.amount === 0n) continue;
      const room = rooms?.[i];
      const share = room?.counter === hold.counter ? room.free / SHARE : 0n;
      if (hold.amount <= share) continue;
      const fair = (outputMax * share) / hold.amount;
      if (fair < part) part = fair;
    }
    return part > PART_MIN ? part : PART_MIN < outputMax ? PART_MIN : outputMax;
  }

  see(policy: KeyPolicy, holds: readonly Hold[], states: readonly HoldState[]): void {
    const rooms: Room[] = [];
    for (let i = 0; i < holds.length; i++) {
      const hold = holds[i] as Hold;
      rooms.push({ counter: hold.counter, free: leftOf(hold, states[i] as HoldState).free });
    }
    this.#seen.set(policy, rooms);
  }
}
