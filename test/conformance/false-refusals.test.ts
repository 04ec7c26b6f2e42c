import { expect, test } from 'vitest';
import type { Hold, Reservation } from '#proxy/limits/counters.ts';
import { memoryCounters } from '#proxy/limits/memory.ts';

/** `WEIR_CALLS=1000000` makes so many calls; by default as many as take about a second. */
const CALLS = Number(process.env.WEIR_CALLS ?? 40_000);
const SECOND_MS = 1_000;
const PERIOD_MS = 600_000;
const START_MS = Date.UTC(2031, 0, 1);

/** Repeatable: a failure says the seed. */
function randomOf(seed: number): (max: number) => number {
  let state = seed >>> 0;
  return (max) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * max);
  };
}

/**
 * A customer that never exceeds its limits: before each call it works out by itself, from all that it has done, that
 * each of them has room, and else waits or calls smaller. So every refusal is a false one. Calls overlap, end late,
 * are given back, grow and outlive their leases; the clock goes forward and now and then back.
 */
class Prudent {
  readonly limits = { requests: 50n, tokens: 40_000n, burst: 60_000n, atOnce: 12n, budget: 900_000n };
  readonly #admitted: number[] = [];
  /** What was settled, and when, of tokens; the sum of a bucket is worked out from it. */
  #settled: { atMs: number; tokens: bigint }[] = [];
  heldTokens = 0n;
  heldBudget = 0n;
  spent = 0n;
  live = 0n;

  tokensFree(nowMs: number): bigint {
    // The most that any stretch up to now took in beyond what leaked during it.
    let level = 0n;
    let taken = 0n;
    for (const { atMs, tokens } of this.#settled.toReversed()) {
      taken += tokens * BigInt(SECOND_MS);
      const left = taken - this.limits.tokens * BigInt(nowMs - atMs);
      if (left > level) level = left;
    }
    // What has leaked away whole is of no consequence any more.
    if (level === 0n) this.#settled = [];
    return (this.limits.burst * BigInt(SECOND_MS) - level) / BigInt(SECOND_MS) - this.heldTokens;
  }

  mayRequest(nowMs: number): boolean {
    // Evenly: n calls and their last need room for all of them at the rate, beyond the burst.
    const { requests } = this.limits;
    let level = 0n;
    let taken = 0n;
    for (const atMs of this.#admitted.toReversed()) {
      taken += BigInt(SECOND_MS);
      const left = taken - requests * BigInt(nowMs - atMs);
      if (left > level) level = left;
    }
    if (level === 0n) this.#admitted.length = 0;
    return level + BigInt(SECOND_MS) <= requests * BigInt(SECOND_MS);
  }

  admitted(nowMs: number): void {
    this.#admitted.push(nowMs);
  }

  settled(nowMs: number, tokens: bigint): void {
    this.#settled.push({ atMs: nowMs, tokens });
  }
}

test(`refuses none of ${CALLS} calls of customers that stay within their limits`, {
  timeout: 60_000 + CALLS,
}, () => {
  const seed = Number(process.env.WEIR_SEED ?? Date.now() % 2 ** 31);
  const random = randomOf(seed);
  let nowMs = START_MS;
  let markMs = nowMs;
  const counters = memoryCounters({ clock: () => nowMs });
  let customer = new Prudent();
  let period = 0;
  let made = 0;
  const inFlight: { reservation: Reservation; tokens: bigint; budget: bigint }[] = [];

  function end(): void {
    const [call] = inFlight.splice(random(inFlight.length), 1);
    if (!call) return;
    const { reservation, tokens, budget } = call;
    customer.heldTokens -= tokens;
    customer.heldBudget -= budget;
    customer.live--;
    if (random(10) === 0) return void counters.release(reservation);
    const used = BigInt(random(Number(tokens) + 1));
    const cost = BigInt(random(Number(budget) + 1));
    counters.settle(reservation, [1n, used, 1n, cost]);
    customer.settled(markMs, used);
    customer.spent += cost;
  }

  while (made < CALLS) {
    nowMs += random(20) === 0 ? -random(50) : random(40);
    markMs = Math.max(markMs, nowMs);
    // The store's time is the highest reading that it has seen: it sees each.
    counters.read('acme', 'c');
    const now = Math.trunc((markMs - START_MS) / PERIOD_MS);
    if (now > period) {
      while (inFlight.length > 0) end();
      period = now;
      const next = new Prudent();
      customer = Object.assign(customer, { spent: next.spent });
    }
    const { limits } = customer;
    const tokens = BigInt(random(9_000));
    const budget = BigInt(random(40_000));
    const fits =
      customer.mayRequest(markMs) &&
      customer.live < limits.atOnce &&
      tokens <= customer.tokensFree(markMs) &&
      customer.spent + customer.heldBudget + budget <= limits.budget;
    if (!fits) {
      end();
      continue;
    }
    const holds: Hold[] = [
      {
        ...{ kind: 'rate', counter: 'r', amount: 1n, limit: limits.requests, burst: limits.requests },
        windowMs: SECOND_MS,
        counted: 'admission',
      },
      {
        ...{ kind: 'rate', counter: 't', amount: tokens, limit: limits.tokens, burst: limits.burst },
        windowMs: SECOND_MS,
        counted: 'settlement',
      },
      { kind: 'concurrency', counter: 'c', amount: 1n, limit: limits.atOnce },
      {
        kind: 'quota',
        counter: `q${period}`,
        amount: budget,
        limit: limits.budget,
        expiresAtMs: START_MS + (period + 9) * PERIOD_MS,
      },
    ];
    const reservation: Reservation = { id: `req_${++made}`, customer: 'acme', atMs: nowMs, leaseMs: 3_600_000, holds };
    const answer = counters.reserve(reservation);
    if (!answer.admitted) expect({ seed, made, answer, holds }).toBe('admitted');
    customer.admitted(markMs);
    customer.heldTokens += tokens;
    customer.heldBudget += budget;
    customer.live++;
    inFlight.push({ reservation, tokens, budget });
    // Half of what is left in a call is asked for on top now and then: it fits, so it must be given.
    if (random(8) === 0) {
      const more = BigInt(random(500));
      if (customer.spent + customer.heldBudget + more <= limits.budget) {
        const grown = counters.extend(reservation, [1n, tokens, 1n, budget + more]);
        if (!grown.admitted) expect({ seed, made, grown }).toBe('admitted');
        customer.heldBudget += more;
        const last = inFlight.at(-1);
        if (last) last.budget += more;
      }
    }
    if (random(3) > 0) end();
  }
  console.log(`false refusals: none in ${made} calls, seed ${seed}`);
});
