import { Fault, reasonOf } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import type { Log } from '#core/log.ts';
import { pause } from '#core/pause.ts';
import { type Clock, formatInstant } from '#core/time.ts';
import { turns } from '#core/turns.ts';
import { within } from '#core/within.ts';
import type { CounterStore, HoldState, Reservation, ReserveAnswer, Standing } from '#proxy/limits/counters.ts';
import { type ModelUse, usedSince, whereOf } from '#proxy/limits/used-since.ts';
import type { Policies } from '#proxy/policies/policies.ts';
import { type Count, countOf, countsOf, isOfValue, nameOf } from './limit-counts.ts';

/**
 * Counters know nothing of what was used before they existed, or before they were lost; billing does. The store says
 * which counts it does not know, before it holds anything; they are raised to billing's sum, and the call is asked again.
 * Until then it waits, for a moment; then the limit is as good as out of reach (`limits_unavailable`), and does what it
 * says for that case. A quota that nobody knows the state of is not one that holds.
 *
 * Raising is always safe: a call is settled before billing can know it, so the sum holds nothing that a counter which
 * was in force has not counted. It is raised once more when the calls that were in flight without it are over.
 */
export interface LimitSeeds {
  counters: CounterStore;
  /** Notices limits that come into force for a key, and has their counts raised before they are trusted. */
  policies: Policies;
}

export interface LimitSeedOptions {
  policies: Policies;
  counters: CounterStore;
  /** Resolves when every event that this gateway closed so far is where billing can read it. */
  shipped: () => Promise<void>;
  /** Of counters that several gateways share: how one stands, once what it has counted is there too. */
  standing?: (customer: string, counter: string) => Promise<Standing>;
  /** How long a call that is in flight now may still take. */
  callMs: () => number;
  url: string;
  token: string;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
}

const RETRY_MS = { min: 100, max: 5_000 };
/**
 * Calls that were in flight when a counter was lost are settled in it while billing is asked: then it is asked again. So
 * often; beyond it billing's sum is taken as the least, and once more when these calls are over.
 */
const MOVED_MAX = 20;
const ANSWER_TIMEOUT_MS = 10_000;
/** How long a call waits for the counts that it comes under. Mostly they are there within milliseconds. */
const WAIT_MS = 2_000;
/** Questions to billing at once: after a loss there may be one for each user. */
const AT_ONCE = 16;
/**
 * Counts of single users, sessions, models and labels that are asked for, or will be once more, at the same time: of all
 * customers and of each, who may make them up. Beyond it calls are told to come again. Limits that count all together are
 * as few as the policies say.
 */
const PENDING_MAX = 10_000;
const PENDING_OF_CUSTOMER_MAX = 1_000;

export function limitSeeds(options: LimitSeedOptions): LimitSeeds {
  const { counters, policies, clock, log, signal } = options;
  /** By counter: what is on its way. */
  const raising = new Map<string, Promise<void>>();
  /** By counter: when it is to be raised once more. */
  const again = new Map<string, number>();
  /** By customer: how many of its counts of single values are on their way. */
  const pendingOf = new Map<string, number>();
  /** By customer and series: what must be raised before it is trusted, though the store has a count. */
  const doubted = new Map<string, Promise<void>>();
  /** Policies that were looked at, and by key the series that it was under last. */
  const seen = new WeakSet<KeyPolicy>();
  const under = new Map<string, ReadonlySet<string>>();
  const inTurn = turns(AT_ONCE);

  async function askBilling({ customer, sinceMs, origin }: Count): Promise<bigint> {
    const where = whereOf(origin);
    const query = new URLSearchParams({
      customer,
      since: formatInstant(Math.max(0, sinceMs)),
      ...(origin.limit.scope === 'key' && { key: origin.key }),
      ...(where && { where: JSON.stringify(where) }),
    });
    const response = await fetch(`${options.url}/v1/usage/since?${query}`, {
      headers: { authorization: `Bearer ${options.token}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]),
    });
    if (!response.ok) throw new Error(`billing answered ${response.status} when asked what was used`);
    const { models } = (await response.json()) as { models: ModelUse[] };
    return usedSince(origin, models);
  }

  async function raiseUntilDone(count: Count): Promise<void> {
    const { customer, seed } = count;
    let moved = 0;
    for (let waitMs = RETRY_MS.min; !signal.aborted; waitMs = Math.min(waitMs * 2, RETRY_MS.max)) {
      try {
        await options.shipped();
        while (!signal.aborted) {
          const as = moved < MOVED_MAX ? await options.standing?.(customer, seed.counter) : undefined;
          const used = await inTurn(() => askBilling(count));
          if (await counters.seed(customer, { ...seed, used, ...(as && { as }) })) return;
          moved++;
        }
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error: reasonOf(error), limit: count.origin.limit.id }, 'waiting for billing to say what was used');
        await pause(waitMs, signal);
      }
    }
  }

  /** Whoever comes first begins it. */
  function raise(count: Count): Promise<void> {
    const found = raising.get(count.name);
    if (found) return found;
    const { name, customer } = count;
    const pending = pendingOf.get(customer) ?? 0;
    if (isOfValue(count)) {
      if (raising.size >= PENDING_MAX || pending >= PENDING_OF_CUSTOMER_MAX) return Promise.reject(late());
      pendingOf.set(customer, pending + 1);
    }
    const ended = raiseUntilDone(count).finally(() => {
      raising.delete(name);
      if (!isOfValue(count)) return;
      const left = (pendingOf.get(customer) ?? 1) - 1;
      if (left > 0) pendingOf.set(customer, left);
      else pendingOf.delete(customer);
    });
    raising.set(name, ended);
    void ended.then(() => raiseAgain(count));
    return ended;
  }

  /** Calls that were in flight when it was counted first are in billing's sum when they are over. */
  async function raiseAgain(count: Count): Promise<void> {
    const { name } = count;
    const waits = again.has(name);
    if (signal.aborted || (!waits && isOfValue(count) && again.size >= PENDING_MAX)) return;
    again.set(name, clock() + options.callMs());
    if (waits) return;
    for (let leftMs = options.callMs(); leftMs > 0; leftMs = (again.get(name) ?? 0) - clock()) {
      await pause(leftMs, signal);
      if (signal.aborted) return;
    }
    again.delete(name);
    await raiseUntilDone(count);
  }

  async function raised(counts: readonly Count[]): Promise<void> {
    await within(WAIT_MS, Promise.all(counts.map(raise)), late);
    if (signal.aborted) throw late();
  }

  type Unsaid = (answer: ReserveAnswer) => ReserveAnswer;
  type Ask = (reservation: Reservation) => ReserveAnswer | Promise<ReserveAnswer>;

  /** What is not known is asked for, and the store once more. What nobody says in time stays unknown (`unsaid`). */
  function known(
    ask: Ask,
    unsaid: Unsaid,
    reservation: Reservation,
    answer: ReserveAnswer,
  ): ReserveAnswer | Promise<ReserveAnswer> {
    if (answer.unknown.length === 0) return answer;
    const counts = answer.unknown.flatMap((place) => countOf(reservation, place));
    return raised(counts).then(
      () => ask(reservation),
      () => unsaid(answer),
    );
  }

  function asked(ask: Ask, unsaid: Unsaid, reservation: Reservation): ReserveAnswer | Promise<ReserveAnswer> {
    if (doubted.size > 0) {
      const doubts = doubtsOf(reservation);
      if (doubts.length > 0) {
        const places = doubts.map(([place]) => place);
        return within(WAIT_MS, Promise.all(doubts.map(([, doubt]) => doubt)), late).then(
          () => asked(ask, unsaid, reservation),
          () => unsaid({ admitted: false, states: reservation.holds.map(() => UNSEEN), crossed: [], unknown: places }),
        );
      }
    }
    const answer = ask(reservation);
    return answer instanceof Promise
      ? answer.then((one) => known(ask, unsaid, reservation, one))
      : known(ask, unsaid, reservation, answer);
  }

  function doubtsOf({ customer, holds }: Reservation): [place: number, doubt: Promise<void>][] {
    return holds.flatMap((hold, place) => {
      const doubt = hold.kind === 'quota' && hold.series && doubted.get(nameOf(customer, hold.series.name));
      return doubt ? [[place, doubt]] : [];
    });
  }

  /** What the key used while it was not under a limit has not been counted there. */
  function look(policy: KeyPolicy): void {
    const { customer, key } = policy;
    const before = under.get(key);
    const counts = countsOf(policy, clock());
    under.set(key, new Set(counts.keys()));
    seen.add(policy);
    if (!before) return;
    for (const [series, count] of counts) {
      const name = nameOf(customer, series);
      if (before.has(series) || doubted.has(name)) continue;
      // A sum that is asked for already may be too old to hold what was missed.
      const ended = Promise.resolve(raising.get(count.name))
        .then(() => raise(count))
        .finally(() => doubted.delete(name));
      doubted.set(name, ended);
      ended.catch(() => undefined);
    }
  }

  return {
    counters: {
      ...counters,
      seeded: true,
      // The store is there: only the limits that nobody knows do what they say for one that is away.
      reserve: (reservation) =>
        asked(
          (one) => counters.reserve(one),
          (answer) => answer,
          reservation,
        ),
      extend: (reservation, amounts) => asked((one) => counters.extend(one, amounts), fail, reservation),
    },
    policies: {
      find(secretHash) {
        const policy = policies.find(secretHash);
        if (policy instanceof Promise || !policy || seen.has(policy)) return policy;
        look(policy);
        return policy;
      },
    },
  };
}

/** Of a hold that the store was not asked about. */
const UNSEEN: HoldState = { used: 0n, held: 0n, fits: true, waitMs: 0 };

function fail(): never {
  throw late();
}

function late(): Fault {
  return new Fault('limits_unavailable', { story: 'billing has not said what was used' });
}
