import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  COUNTER_MAX,
  type CounterStore,
  type Hold,
  type MaybePromise,
  type Reservation,
} from '#proxy/limits/counters.ts';
import type { Step, StepValue } from '../support/counters-steps.ts';
import { BUDGET_NANOS, type Spent, spend } from '../support/spend.ts';
import { CountersOracle } from './counters-oracle.ts';

/** Counters with a clock that the test moves. */
export interface CountersUnderTest {
  counters: CounterStore;
  /** One that nobody has used. */
  customer: string;
  setClock(nowMs: number): MaybePromise<void>;
  /** Runs steps in order and gives their answers, where one message for many steps is faster than one for each. */
  run?(steps: readonly Step[]): Promise<StepValue[]>;
  /** `spend` on this customer, where it is better done beside the counters. */
  spend?(): Promise<Spent>;
}

export interface ConformanceOptions {
  /** How long random histories run when nobody asked for a number of them. */
  historiesMs: number;
}

/** `WEIR_HISTORIES=10000` runs so many histories on each store, however long it takes. */
const HISTORIES_WANTED = Number(process.env.WEIR_HISTORIES ?? 0);
const FULL_RUN_MS = 3_600_000;

const START_MS = Date.UTC(2031, 0, 31, 23, 59, 58, 250);
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

const requests = (limit: bigint, burst = limit, windowMs = MINUTE_MS): Hold => ({
  kind: 'rate',
  counter: 'requests',
  amount: 1n,
  limit,
  burst,
  windowMs,
  counted: 'admission',
});
const tokens = (amount: bigint, limit = 100n, burst = limit): Hold => ({
  kind: 'rate',
  counter: 'tokens',
  amount,
  limit,
  burst,
  windowMs: MINUTE_MS,
  counted: 'settlement',
});
const atOnce = (limit: bigint): Hold => ({ kind: 'concurrency', counter: 'at once', amount: 1n, limit });
const budget = (amount: bigint, limit = 1_000n, counter = 'budget', expiresAtMs = START_MS + 40 * DAY_MS): Hold => ({
  kind: 'quota',
  counter,
  amount,
  limit,
  expiresAtMs,
});

/** One suite for every implementation of the counters. */
export function countersConformance(
  name: string,
  open: () => MaybePromise<CountersUnderTest>,
  options: ConformanceOptions,
): void {
  /** A customer, and verbs short enough that a test reads as what happens. */
  async function scene() {
    const under = await open();
    const { counters, customer, setClock } = under;
    let nowMs = START_MS;
    let made = 0;
    await setClock(nowMs);
    return {
      under,
      counters,
      customer,
      call: (holds: Hold[], leaseMs = 10 * MINUTE_MS, id = `req_${++made}`): Reservation => ({
        id,
        customer,
        atMs: START_MS,
        leaseMs,
        holds,
      }),
      pass: async (ms: number) => {
        nowMs += ms;
        await setClock(nowMs);
      },
      reserve: async (call: Reservation) => counters.reserve(call),
      extend: async (call: Reservation, ...amounts: bigint[]) => counters.extend(call, amounts),
      settle: async (call: Reservation, ...used: bigint[]) => (await counters.settle(call, used)).settled,
      release: async (call: Reservation) => counters.release(call),
      read: async (counter: string) => counters.read(customer, counter),
    };
  }
  const admitted = { admitted: true };

  describe(`counters: ${name}`, () => {
    describe('requests per minute', () => {
      test('admits a burst, refuses the next one, and says exactly when it fits', async () => {
        const { call, reserve, pass, read } = await scene();
        for (let i = 0; i < 3; i++) expect(await reserve(call([requests(3n)]))).toMatchObject(admitted);
        const refused = (waitMs: number) => ({
          admitted: false,
          states: [{ used: 3n, held: 0n, fits: false, waitMs }],
        });
        expect(await reserve(call([requests(3n)]))).toMatchObject(refused(20_000));
        await pass(19_999);
        expect(await reserve(call([requests(3n)]))).toMatchObject(refused(1));
        await pass(1);
        expect(await reserve(call([requests(3n)]))).toMatchObject(admitted);
        expect(await read('requests')).toEqual({ used: 3n, held: 0n });
      });

      test('never admits more than burst and limit allow over any span of time', async () => {
        const { call, reserve, pass } = await scene();
        const hold = requests(7n, 5n, 1_000);
        const times: number[] = [];
        for (let ms = 0; ms < 3_000; ms += 37) {
          while ((await reserve(call([hold]))).admitted) times.push(ms);
          await pass(37);
        }
        for (const [i, from] of times.entries()) {
          for (const [j, to] of times.entries()) {
            if (j >= i) expect((j - i + 1 - 5) * 1_000).toBeLessThanOrEqual(7 * (to - from));
          }
        }
        expect(times.length).toBeGreaterThanOrEqual(5 + 7 * 2);
      });

      test('stays counted when the call is released or its lease ends', async () => {
        const { call, reserve, release, pass, read } = await scene();
        const [first, second] = [call([requests(1_000n)], 1_000), call([requests(1_000n)], 10)];
        await reserve(first);
        await reserve(second);
        await release(first);
        await pass(15);
        expect(await read('requests')).toEqual({ used: 2n, held: 0n });
      });

      test('takes up a new limit and a new burst at once', async () => {
        const { call, reserve, pass } = await scene();
        await reserve(call([requests(1n)]));
        expect((await reserve(call([requests(1n)]))).admitted).toBe(false);
        expect(await reserve(call([requests(2n)]))).toMatchObject(admitted);
        await pass(MINUTE_MS / 2);
        expect(await reserve(call([requests(1n)]))).toMatchObject({
          admitted: false,
          states: [{ used: 2n, waitMs: 90_000 }],
        });
      });

      test('never fits more than the burst, and then says that time does not help', async () => {
        const { call, reserve } = await scene();
        const tooMuch = { ...requests(10n, 5n), amount: 6n } as Hold;
        expect(await reserve(call([tooMuch]))).toMatchObject({ admitted: false, states: [{ waitMs: null }] });
        expect(await reserve(call([requests(0n, 0n)]))).toMatchObject({ admitted: false, states: [{ waitMs: null }] });
        // What does not fit took nothing from those that do.
        for (let i = 0; i < 5; i++) expect(await reserve(call([requests(10n, 5n)]))).toMatchObject({ admitted: true });
      });

      test('is not delayed by asking before it fits, however often', async () => {
        const { call, reserve, pass } = await scene();
        const slow = () => call([requests(2n, 1n)]);
        expect(await reserve(slow())).toMatchObject({ admitted: true });
        // Two a minute: one after half of it, though it was asked for every second.
        for (let second = 1; second < 30; second++) {
          await pass(1_000);
          expect(await reserve(slow())).toMatchObject({
            admitted: false,
            states: [{ waitMs: 30_000 - second * 1_000 }],
          });
        }
        await pass(1_000);
        expect(await reserve(slow())).toMatchObject({ admitted: true });
      });
    });

    describe('tokens per minute', () => {
      test('holds the worst case until the call is settled, then counts what was used', async () => {
        const { call, reserve, settle, read, pass } = await scene();
        const first = call([tokens(80n)]);
        expect(await reserve(first)).toMatchObject(admitted);
        expect(await read('tokens')).toEqual({ used: 0n, held: 80n });
        expect(await reserve(call([tokens(30n)]))).toMatchObject({
          admitted: false,
          states: [{ used: 0n, held: 80n, fits: false, waitMs: null }],
        });
        expect(await settle(first, 50n)).toBe(true);
        expect(await read('tokens')).toEqual({ used: 50n, held: 0n });
        expect(await reserve(call([tokens(51n)]))).toMatchObject({
          admitted: false,
          states: [{ used: 50n, waitMs: 600 }],
        });
        await pass(600);
        expect(await reserve(call([tokens(51n)]))).toMatchObject(admitted);
      });

      test('does not leak what is only held', async () => {
        const { call, reserve, pass, read } = await scene();
        await reserve(call([tokens(100n)], HOUR_MS));
        await pass(30 * MINUTE_MS);
        expect(await read('tokens')).toEqual({ used: 0n, held: 100n });
        expect((await reserve(call([tokens(1n)]))).admitted).toBe(false);
      });

      test('records more than was held as debt, which must leak away first', async () => {
        const { call, reserve, settle, pass, read } = await scene();
        const first = call([tokens(10n)]);
        await reserve(first);
        expect(await settle(first, 250n)).toBe(true);
        expect(await read('tokens')).toEqual({ used: 250n, held: 0n });
        expect(await reserve(call([tokens(1n)]))).toMatchObject({ admitted: false, states: [{ waitMs: 90_600 }] });
        await pass(90_600);
        expect(await reserve(call([tokens(1n)]))).toMatchObject(admitted);
      });

      test('gives the hold back when the call is released', async () => {
        const { call, reserve, release, read } = await scene();
        const first = call([tokens(80n)]);
        await reserve(first);
        await release(first);
        expect(await read('tokens')).toEqual({ used: 0n, held: 0n });
      });

      test('gives the hold back when the lease ends, and counts what a late settle brings', async () => {
        const { call, reserve, settle, pass, read } = await scene();
        const first = call([tokens(80n)], 5_000);
        await reserve(first);
        await pass(4_999);
        expect(await read('tokens')).toEqual({ used: 0n, held: 80n });
        await pass(1);
        expect(await read('tokens')).toEqual({ used: 0n, held: 0n });
        expect(await settle(first, 30n)).toBe(true);
        expect(await read('tokens')).toEqual({ used: 30n, held: 0n });
        expect(await settle(first, 30n)).toBe(false);
      });
    });

    describe('concurrency', () => {
      test('lets in the next call when one is settled, released or abandoned', async () => {
        const { call, reserve, settle, release, pass, read } = await scene();
        const first = call([atOnce(2n)]);
        const second = call([atOnce(2n)]);
        const third = call([atOnce(2n)], 1_000);
        await reserve(first);
        await reserve(second);
        const refused = { admitted: false, states: [{ used: 0n, held: 2n, fits: false, waitMs: null }] };
        expect(await reserve(third)).toMatchObject(refused);
        await settle(first, 1n);
        expect(await reserve(third)).toMatchObject(admitted);
        expect(await reserve(call([atOnce(2n)]))).toMatchObject(refused);
        await release(second);
        expect(await read('at once')).toEqual({ used: 0n, held: 1n });
        await pass(1_000);
        expect(await read('at once')).toEqual({ used: 0n, held: 0n });
      });

      test('does not go below nothing when a call is settled after its lease', async () => {
        const { call, reserve, settle, pass, read } = await scene();
        const late = call([atOnce(2n)], 1_000);
        await reserve(late);
        await pass(1_000);
        await reserve(call([atOnce(2n)]));
        await settle(late, 1n);
        expect(await read('at once')).toEqual({ used: 0n, held: 1n });
      });
    });

    describe('budgets and other quotas', () => {
      test('refuses the call that would pass the limit and admits the one that meets it', async () => {
        const { call, reserve, settle, read } = await scene();
        const first = call([budget(600n)]);
        await reserve(first);
        await settle(first, 599n);
        const second = call([budget(301n)]);
        expect(await reserve(second)).toMatchObject(admitted);
        expect(await reserve(call([budget(101n)]))).toMatchObject({
          admitted: false,
          states: [{ used: 599n, held: 301n, fits: false, waitMs: null }],
        });
        expect(await reserve(call([budget(100n)]))).toMatchObject(admitted);
        expect(await read('budget')).toEqual({ used: 599n, held: 401n });
      });

      test('records a debt in full and refuses everything after it', async () => {
        const { call, reserve, settle, read } = await scene();
        const first = call([budget(10n)]);
        await reserve(first);
        await settle(first, 5_000n);
        expect(await read('budget')).toEqual({ used: 5_000n, held: 0n });
        expect((await reserve(call([budget(0n)]))).admitted).toBe(false);
      });

      test('charges the worst case when the lease ends, and corrects it when the settlement comes', async () => {
        const { call, reserve, settle, pass, read } = await scene();
        const [cheaper, dearer] = [call([budget(300n)], 1_000), call([budget(200n)], 1_000)];
        await reserve(cheaper);
        await reserve(dearer);
        await pass(1_000);
        expect(await read('budget')).toEqual({ used: 500n, held: 0n });
        expect(await settle(cheaper, 20n)).toBe(true);
        expect(await read('budget')).toEqual({ used: 220n, held: 0n });
        expect(await settle(dearer, 210n)).toBe(true);
        expect(await settle(dearer, 210n)).toBe(false);
        expect(await read('budget')).toEqual({ used: 230n, held: 0n });
      });

      test('takes the charge of an ended lease back when the call is released', async () => {
        const { call, reserve, settle, release, pass, read } = await scene();
        const late = call([budget(300n)], 1_000);
        await reserve(late);
        await pass(1_000);
        await release(late);
        expect(await read('budget')).toEqual({ used: 0n, held: 0n });
        expect(await settle(late, 5n)).toBe(false);
      });

      test('counts each period by itself', async () => {
        const { call, reserve, settle, read } = await scene();
        const january = call([budget(1_000n, 1_000n, 'budget 2031-01')]);
        await reserve(january);
        await settle(january, 1_000n);
        expect((await reserve(call([budget(1n, 1_000n, 'budget 2031-01')]))).admitted).toBe(false);
        expect(await reserve(call([budget(900n, 1_000n, 'budget 2031-02')]))).toMatchObject(admitted);
        expect(await read('budget 2031-02')).toEqual({ used: 0n, held: 900n });
      });

      test('admits nothing once it has ended, and takes no more entries', async () => {
        const { call, reserve, settle, pass, read } = await scene();
        const ending = budget(10n, 1_000n, 'ending', START_MS + 5_000);
        const first = call([ending]);
        await reserve(first);
        await pass(5_000);
        expect(await read('ending')).toEqual({ used: 0n, held: 0n });
        expect(await reserve(call([ending]))).toMatchObject({
          admitted: false,
          states: [{ used: 0n, held: 0n, fits: false, waitMs: null }],
        });
        expect(await settle(first, 10n)).toBe(true);
        expect(await read('ending')).toEqual({ used: 0n, held: 0n });
      });

      test('ends at the later end when its period is moved', async () => {
        const { call, reserve, settle, pass, read } = await scene();
        const early = call([budget(10n, 1_000n, 'moved', START_MS + 5_000)]);
        const late = call([budget(10n, 1_000n, 'moved', START_MS + 9_000)]);
        await reserve(early);
        await reserve(late);
        await settle(early, 7n);
        await pass(8_999);
        expect(await read('moved')).toEqual({ used: 7n, held: 10n });
        await pass(1);
        expect(await read('moved')).toEqual({ used: 0n, held: 0n });
      });

      test('begins anew when it has ended and is named with a later end, as if it had been forgotten', async () => {
        const { counters, customer, call, reserve, settle, pass, read } = await scene();
        const session = (amount: bigint, expiresAtMs: number) => ({
          ...(budget(amount, 1_000n, 'session', expiresAtMs) as Hold & { kind: 'quota' }),
          warnAt: [500n],
        });
        const first = call([session(10n, START_MS + 5_000)]);
        await reserve(first);
        await settle(first, 1_000n);
        await pass(5_000);
        const second = call([session(900n, START_MS + 10_000)]);
        expect(await reserve(second)).toMatchObject({ admitted: true, states: [{ used: 0n, held: 900n }] });
        expect((await counters.settle(second, [600n])).crossed).toEqual([{ index: 0, threshold: 500n }]);
        expect(await read('session')).toEqual({ used: 600n, held: 0n });
        await pass(5_000);
        await counters.seed(customer, { counter: 'session', used: 3n, expiresAtMs: START_MS + 15_000 });
        expect(await read('session')).toEqual({ used: 3n, held: 0n });
      });

      test("is raised to billing's sum, never lowered, and its holds stay", async () => {
        const { counters, customer, call, reserve, read } = await scene();
        const endMs = START_MS + 40 * DAY_MS;
        await counters.seed(customer, { counter: 'budget', used: 700n, expiresAtMs: endMs });
        expect(await read('budget')).toEqual({ used: 700n, held: 0n });
        expect(await reserve(call([budget(200n)]))).toMatchObject(admitted);
        await counters.seed(customer, { counter: 'budget', used: 800n, expiresAtMs: endMs });
        await counters.seed(customer, { counter: 'budget', used: 20n, expiresAtMs: endMs });
        expect(await read('budget')).toEqual({ used: 800n, held: 200n });
        expect((await reserve(call([budget(1n)]))).admitted).toBe(false);
      });

      test('keeps sums exact up to the largest limit, and stops a debt above every limit', async () => {
        const { call, reserve, settle, read } = await scene();
        const large = 9_000_000_000_000_000n;
        const first = call([budget(large - 1n, large)]);
        expect(await reserve(first)).toMatchObject(admitted);
        expect((await reserve(call([budget(2n, large)]))).admitted).toBe(false);
        expect(await reserve(call([budget(1n, large)]))).toMatchObject(admitted);
        await settle(first, large - 1n);
        expect(await read('budget')).toEqual({ used: large - 1n, held: 1n });
        const second = call([budget(0n, large)]);
        await reserve(second);
        await settle(second, 10n ** 30n);
        expect(await read('budget')).toEqual({ used: COUNTER_MAX, held: 1n });
        expect((await reserve(call([budget(0n, large)]))).admitted).toBe(false);
      });
    });

    describe('a call', () => {
      const all = (): Hold[] => [requests(2n), tokens(50n), atOnce(5n), budget(500n)];

      test('is held against all its limits or against none', async () => {
        const { call, reserve, read } = await scene();
        expect(await reserve(call(all()))).toMatchObject(admitted);
        expect(await reserve(call([...all().slice(0, 3), budget(501n)]))).toMatchObject({
          admitted: false,
          states: [{ fits: true }, { fits: true }, { fits: true }, { used: 0n, held: 500n, fits: false }],
        });
        expect(await read('requests')).toEqual({ used: 1n, held: 0n });
        expect(await read('tokens')).toEqual({ used: 0n, held: 50n });
        expect(await read('at once')).toEqual({ used: 0n, held: 1n });
        expect(await read('budget')).toEqual({ used: 0n, held: 500n });
      });

      test('is told where each of its limits stands: with what it holds when admitted, without when refused', async () => {
        const { call, reserve } = await scene();
        const fits = { fits: true, waitMs: 0 };
        expect(await reserve(call([tokens(100n), budget(900n)]))).toEqual({
          admitted: true,
          states: [
            { used: 0n, held: 100n, ...fits },
            { used: 0n, held: 900n, ...fits },
          ],
          crossed: [],
          unknown: [],
        });
        const no = { fits: false, waitMs: null };
        expect(await reserve(call([atOnce(1n), tokens(1n), budget(101n)]))).toEqual({
          admitted: false,
          states: [
            { used: 0n, held: 0n, ...fits },
            { used: 0n, held: 100n, ...no },
            { used: 0n, held: 900n, ...no },
          ],
          crossed: [],
          unknown: [],
        });
      });

      test('is held once however often it is reserved', async () => {
        const { call, reserve, settle, release, pass, read } = await scene();
        const first = call(all());
        for (let i = 0; i < 3; i++) expect(await reserve(first)).toMatchObject(admitted);
        expect(await read('requests')).toEqual({ used: 1n, held: 0n });
        expect(await read('budget')).toEqual({ used: 0n, held: 500n });
        await settle(first, 1n, 5n, 1n, 5n);
        expect(await reserve(first)).toMatchObject(admitted);
        expect(await read('budget')).toEqual({ used: 5n, held: 0n });
        const second = call([budget(10n)], 1_000);
        await reserve(second);
        await pass(1_000);
        expect(await reserve(second)).toMatchObject(admitted);
        await release(second);
        expect(await reserve(second)).toMatchObject(admitted);
        expect(await read('budget')).toEqual({ used: 5n, held: 0n });
      });

      test('is decided anew when it was refused before', async () => {
        const { call, reserve, settle } = await scene();
        const [first, second] = [call([budget(1_000n)]), call([budget(10n)])];
        await reserve(first);
        expect((await reserve(second)).admitted).toBe(false);
        await settle(first, 1n);
        expect(await reserve(second)).toMatchObject(admitted);
      });

      test('is settled once however often it is settled, and not after it was released', async () => {
        const { call, reserve, settle, release, read } = await scene();
        const [first, second] = [call(all()), call(all())];
        await reserve(first);
        await reserve(second);
        expect(await settle(first, 1n, 7n, 1n, 70n)).toBe(true);
        expect(await settle(first, 1n, 7n, 1n, 70n)).toBe(false);
        await release(first);
        await release(second);
        await release(second);
        expect(await settle(second, 1n, 7n, 1n, 70n)).toBe(false);
        expect(await read('requests')).toEqual({ used: 2n, held: 0n });
        expect(await read('tokens')).toEqual({ used: 7n, held: 0n });
        expect(await read('at once')).toEqual({ used: 0n, held: 0n });
        expect(await read('budget')).toEqual({ used: 70n, held: 0n });
      });

      test('counts in full when it is settled and was never seen', async () => {
        const { call, settle, read } = await scene();
        const lost = call(all());
        expect(await settle(lost, 1n, 60n, 1n, 600n)).toBe(true);
        expect(await settle(lost, 1n, 60n, 1n, 600n)).toBe(false);
        expect(await read('requests')).toEqual({ used: 1n, held: 0n });
        expect(await read('tokens')).toEqual({ used: 60n, held: 0n });
        expect(await read('at once')).toEqual({ used: 0n, held: 0n });
        expect(await read('budget')).toEqual({ used: 600n, held: 0n });
      });

      test('holds nothing when its release overtook its reserve', async () => {
        const { call, reserve, release, read } = await scene();
        const lost = call(all());
        await release(lost);
        expect(await reserve(lost)).toMatchObject(admitted);
        expect(await read('budget')).toEqual({ used: 0n, held: 0n });
      });

      test('is known for an hour after it was settled', async () => {
        const { call, reserve, settle, pass, read } = await scene();
        const first = call([budget(10n)]);
        await reserve(first);
        await settle(first, 10n);
        await pass(HOUR_MS - 1);
        expect(await settle(first, 10n)).toBe(false);
        await pass(1);
        expect(await settle(first, 10n)).toBe(true);
        expect(await read('budget')).toEqual({ used: 20n, held: 0n });
      });

      test('does not count against another customer', async () => {
        const { call, reserve } = await scene();
        const other = await scene();
        await reserve(call([budget(1_000n)]));
        expect(await other.reserve(other.call([budget(1_000n)]))).toMatchObject(admitted);
        expect(await other.read('budget')).toEqual({ used: 0n, held: 1_000n });
      });

      test('may have no limits at all', async () => {
        const { call, reserve, settle } = await scene();
        const free = call([]);
        expect(await reserve(free)).toMatchObject(admitted);
        expect(await settle(free)).toBe(true);
        expect(await settle(free)).toBe(false);
      });

      test('is a mistake of the caller when it holds a counter twice, too much, or settles half of its holds', async () => {
        const { call, reserve, settle } = await scene();
        const cases: Hold[][] = [
          [budget(1n), budget(1n)],
          [budget(-1n)],
          [budget(1n, COUNTER_MAX + 1n)],
          [requests(1n, COUNTER_MAX / 60_000n + 1n)],
          ...['#req_1', '@', 'a"b', 'a\\b', ''].map((name) => [budget(1n, 1n, name)]),
        ];
        for (const holds of cases) await expect(reserve(call(holds))).rejects.toThrow();
        await expect(settle(call([budget(1n)]))).rejects.toThrow();
        await expect(settle(call([budget(1n)]), -1n)).rejects.toThrow();
      });
    });

    describe('an extension', () => {
      test('raises what a call holds to the amounts, all of it or nothing, and settles against all of it', async () => {
        const { call, reserve, extend, settle, read } = await scene();
        const stream = call([tokens(10n), budget(100n)]);
        await reserve(stream);
        expect(await extend(stream, 30n, 400n)).toMatchObject({
          admitted: true,
          states: [{ held: 30n }, { held: 400n }],
        });
        expect(await extend(stream, 50n, 1_001n)).toMatchObject({
          admitted: false,
          states: [
            { held: 30n, fits: true },
            { held: 400n, fits: false },
          ],
        });
        expect(await read('tokens')).toEqual({ used: 0n, held: 30n });
        expect(await settle(stream, 25n, 350n)).toBe(true);
        expect(await read('tokens')).toEqual({ used: 25n, held: 0n });
        expect(await read('budget')).toEqual({ used: 350n, held: 0n });
      });

      test('said twice is said once, lowers nothing, and leaves requests and concurrency as they are', async () => {
        const { call, reserve, extend, read } = await scene();
        const stream = call([requests(5n), atOnce(2n), budget(100n)]);
        await reserve(stream);
        for (const amount of [300n, 300n, 50n]) await extend(stream, 9n, 9n, amount);
        expect(await read('requests')).toEqual({ used: 1n, held: 0n });
        expect(await read('at once')).toEqual({ used: 0n, held: 1n });
        expect(await read('budget')).toEqual({ used: 0n, held: 300n });
      });

      test('renews the lease, refused or not, and is always admitted when it asks for nothing more', async () => {
        const { call, reserve, extend, settle, pass, read } = await scene();
        const other = call([budget(10n)]);
        const stream = call([budget(100n)], 1_000);
        await reserve(other);
        await reserve(stream);
        await settle(other, 2_000n);
        for (const amount of [100n, 100n, 101n]) {
          await pass(900);
          expect((await extend(stream, amount)).admitted).toBe(amount === 100n);
        }
        await pass(999);
        expect(await read('budget')).toEqual({ used: 2_000n, held: 100n });
        await pass(1);
        expect(await read('budget')).toEqual({ used: 2_100n, held: 0n });
      });

      test('charges what was held last when the lease ends, and holds it again when the call comes back', async () => {
        const { call, reserve, extend, settle, release, pass, read } = await scene();
        const [stream, dead] = [call([tokens(10n), atOnce(3n), budget(100n)], 1_000), call([budget(5n)], 1_000)];
        await reserve(stream);
        await reserve(dead);
        await extend(stream, 20n, 1n, 300n);
        await extend(dead, 50n);
        await pass(1_000);
        expect(await read('budget')).toEqual({ used: 350n, held: 0n });
        expect(await read('tokens')).toEqual({ used: 0n, held: 0n });
        expect(await extend(stream, 30n, 1n, 301n)).toMatchObject({ admitted: true });
        expect(await read('budget')).toEqual({ used: 50n, held: 301n });
        expect(await read('tokens')).toEqual({ used: 0n, held: 30n });
        expect(await read('at once')).toEqual({ used: 0n, held: 1n });
        await settle(stream, 5n, 1n, 7n);
        await release(dead);
        expect(await read('budget')).toEqual({ used: 7n, held: 0n });
        expect(await read('at once')).toEqual({ used: 0n, held: 0n });
      });

      test('of a call that the store has never seen reserves it, of one that is over is refused', async () => {
        const { call, reserve, extend, settle, read } = await scene();
        const lost = call([requests(5n), budget(100n)]);
        expect(await extend(lost, 1n, 300n)).toMatchObject({ admitted: true });
        expect(await read('requests')).toEqual({ used: 1n, held: 0n });
        expect(await read('budget')).toEqual({ used: 0n, held: 300n });
        await settle(lost, 1n, 20n);
        expect(await extend(lost, 1n, 400n)).toMatchObject({ admitted: false });
        expect(await reserve(lost)).toMatchObject(admitted);
        expect(await read('budget')).toEqual({ used: 20n, held: 0n });
      });
    });

    describe('a soft limit', () => {
      test('refuses nothing, says what does not fit, and counts it', async () => {
        const { call, reserve, settle, extend, read } = await scene();
        const soft = (hold: Hold): Hold => ({ ...hold, soft: true });
        const holds = [soft(requests(1n)), soft(tokens(80n)), soft(atOnce(1n)), soft(budget(900n))];
        const [first, second] = [call(holds), call(holds)];
        expect(await reserve(first)).toMatchObject({ admitted: true, states: holds.map(() => ({ fits: true })) });
        const { admitted: isIn, states } = await reserve(second);
        expect(isIn).toBe(true);
        expect(states).toEqual([
          { used: 2n, held: 0n, fits: false, waitMs: 60_000 },
          { used: 0n, held: 160n, fits: false, waitMs: null },
          { used: 0n, held: 2n, fits: false, waitMs: null },
          { used: 0n, held: 1_800n, fits: false, waitMs: null },
        ]);
        expect(await extend(second, 1n, 90n, 1n, 950n)).toMatchObject({ admitted: true });
        await settle(first, 1n, 80n, 1n, 900n);
        await settle(second, 1n, 90n, 1n, 950n);
        expect(await read('tokens')).toEqual({ used: 170n, held: 0n });
        expect(await read('budget')).toEqual({ used: 1_850n, held: 0n });
      });

      test('holds nothing in a period that has ended, and gives nothing back to it', async () => {
        const { counters, customer, call, reserve, settle, pass, read } = await scene();
        const session = (amount: bigint, expiresAtMs: number): Hold => ({
          ...(budget(amount, 1_000n, 'session', expiresAtMs) as Hold & { kind: 'quota' }),
          soft: true,
        });
        await pass(5_000);
        const late = call([session(10n, START_MS + 5_000)]);
        expect(await reserve(late)).toMatchObject({ admitted: true, states: [{ held: 0n, fits: false }] });
        expect((await counters.listLive(customer, null, 1))[0]?.holds).toEqual([{ counter: 'session', amount: 0n }]);
        await reserve(call([session(30n, START_MS + 9_000)]));
        await settle(late, 4n);
        expect(await read('session')).toEqual({ used: 4n, held: 30n });
      });

      test('lets a hard limit beside it refuse, and holds nothing then', async () => {
        const { call, reserve, read } = await scene();
        const soft: Hold = { ...budget(5n), soft: true };
        await reserve(call([atOnce(1n)]));
        expect(await reserve(call([atOnce(1n), soft]))).toMatchObject({
          admitted: false,
          states: [{ fits: false }, { fits: true }],
        });
        expect(await read('budget')).toEqual({ used: 0n, held: 0n });
      });

      test('keeps sums exact however much is asked', async () => {
        const { call, reserve, settle, read } = await scene();
        const [first, second] = [1, 2].map(() => call([{ ...budget(COUNTER_MAX - 5n), soft: true }]));
        await reserve(first as Reservation);
        await reserve(second as Reservation);
        expect(await read('budget')).toEqual({ used: 0n, held: COUNTER_MAX });
        await settle(first as Reservation, 3n);
        await settle(second as Reservation, 4n);
        expect(await read('budget')).toEqual({ used: 7n, held: 0n });
      });
    });

    describe('thresholds', () => {
      const warned = (amount: bigint): Hold => ({ ...budget(amount), warnAt: [500n, 800n, 1_000n] }) as Hold;

      test('are said once, by whoever settles or comes after, and never again in the period', async () => {
        const { counters, call, reserve } = await scene();
        const calls = [call([atOnce(9n), warned(400n)]), call([atOnce(9n), warned(300n)]), call([warned(300n)])];
        for (const each of calls) expect((await reserve(each)).crossed).toEqual([]);
        const [first, second, third] = calls as [Reservation, Reservation, Reservation];
        expect((await counters.settle(first, [1n, 400n])).crossed).toEqual([]);
        expect((await counters.settle(second, [1n, 420n])).crossed).toEqual([
          { index: 1, threshold: 500n },
          { index: 1, threshold: 800n },
        ]);
        expect((await counters.settle(second, [1n, 420n])).crossed).toEqual([]);
        expect((await counters.settle(third, [179n])).crossed).toEqual([]);
        expect((await reserve(call([warned(1n)]))).crossed).toEqual([]);
      });

      test('are said by one of 50 callers at once', async () => {
        const { counters, call, reserve } = await scene();
        const calls = Array.from({ length: 50 }, () => call([warned(20n)]));
        for (const each of calls) await reserve(each);
        const crossed = await Promise.all(calls.map(async (each) => (await counters.settle(each, [20n])).crossed));
        // Nobody says in which order a store takes what comes at once.
        const said = crossed.flat().map(({ threshold }) => Number(threshold));
        expect(said.sort((a, b) => a - b)).toEqual([500, 800, 1_000]);
      });

      test('that a lease or a seed has reached are said by the next call', async () => {
        const { counters, customer, call, reserve, pass } = await scene();
        await reserve(call([warned(600n)], 1_000));
        await pass(1_000);
        expect((await reserve(call([warned(10n)]))).crossed).toEqual([{ index: 0, threshold: 500n }]);
        await counters.seed(customer, { counter: 'budget', used: 850n, expiresAtMs: START_MS + 40 * DAY_MS });
        expect((await reserve(call([warned(10n)]))).crossed).toEqual([{ index: 0, threshold: 800n }]);
      });
    });

    describe('a count that is not known', () => {
      const of = (startMs: number, counter = 'budget'): Hold =>
        ({
          ...budget(10n, 1_000n, counter),
          series: { name: 'budgets', startMs },
        }) as Hold;
      const seedOf = (counter: string, used: bigint) => ({
        counter,
        used,
        expiresAtMs: START_MS + 40 * DAY_MS,
        series: { name: 'budgets', startMs: START_MS - DAY_MS },
      });

      test('admits nothing until it is seeded, and names its place', async () => {
        const { counters, customer, call, reserve, read } = await scene();
        const first = call([atOnce(5n), of(START_MS - DAY_MS)]);
        expect(await reserve(first)).toMatchObject({ admitted: false, unknown: [1] });
        expect(await read('at once')).toEqual({ used: 0n, held: 0n });
        await counters.seed(customer, seedOf('budget', 0n));
        expect(await reserve(first)).toMatchObject({ admitted: true, unknown: [] });
      });

      test('is not asked for when its period has ended', async () => {
        const { call, reserve, pass } = await scene();
        await pass(40 * DAY_MS);
        expect(await reserve(call([of(START_MS - DAY_MS)]))).toMatchObject({ admitted: false, unknown: [] });
        const soft = { ...of(START_MS - DAY_MS), soft: true } as Hold;
        expect(await reserve(call([soft]))).toMatchObject({ admitted: true, unknown: [] });
      });

      test('is not made known by a call that ends, whose use stays below the sum that billing says', async () => {
        const { counters, customer, call, reserve, settle, read } = await scene();
        await settle(call([of(START_MS - DAY_MS)]), 70n);
        expect(await reserve(call([of(START_MS - DAY_MS)]))).toMatchObject({ admitted: false, unknown: [0] });
        await counters.seed(customer, seedOf('budget', 900n));
        expect(await read('budget')).toEqual({ used: 900n, held: 0n });
        expect(await reserve(call([of(START_MS - DAY_MS)]))).toMatchObject(admitted);
      });

      test('is known of every period that begins after its series was', async () => {
        const { counters, customer, call, reserve, pass } = await scene();
        await counters.seed(customer, seedOf('budget', 0n));
        await pass(DAY_MS);
        expect(await reserve(call([of(START_MS + 1, 'next')]))).toMatchObject(admitted);
        expect(await reserve(call([of(START_MS - 1, 'of another user')]))).toMatchObject({ unknown: [0] });
      });
    });

    describe('lists', () => {
      test('name calls in flight by the end of their lease, page by page', async () => {
        const { counters, customer, call, reserve, extend, settle } = await scene();
        const calls = [900, 500, 500, 700].map((leaseMs) => call([atOnce(9n), budget(10n)], leaseMs));
        for (const each of calls) await reserve(each);
        await extend(calls[3] as Reservation, 1n, 30n);
        await settle(call([budget(1n)]), 1n);
        const first = await counters.listLive(customer, null, 3);
        const holds = (amount: bigint) => [
          { counter: 'at once', amount: 1n },
          { counter: 'budget', amount },
        ];
        expect(first).toEqual([
          { id: 'req_2', untilMs: START_MS + 500, holds: holds(10n) },
          { id: 'req_3', untilMs: START_MS + 500, holds: holds(10n) },
          { id: 'req_4', untilMs: START_MS + 700, holds: holds(30n) },
        ]);
        expect(await counters.listLive(customer, first[0] ?? null, 1)).toEqual(first.slice(1, 2));
        expect((await counters.listLive(customer, first[2] ?? null, 3)).map(({ id }) => id)).toEqual(['req_1']);
        expect(await counters.listLive('nobody', null, 3)).toEqual([]);
      });

      test('name counters in debt as long as they are', async () => {
        const { counters, customer, call, settle, pass } = await scene();
        const debts = (after = '', max = 10) => counters.listDebts(customer, after, max);
        await settle(call([budget(1n, 100n, 'b'), tokens(1n), requests(1n)]), 150n, 200n, 1n);
        await settle(call([budget(1n, 100n, 'a'), { ...budget(1n, 1n, 'c'), soft: true }]), 101n, 50n);
        const [a, b, t] = [
          { counter: 'a', limit: 100n, used: 101n },
          { counter: 'b', limit: 100n, used: 150n },
          { counter: 'tokens', limit: 100n, used: 200n },
        ];
        expect(await debts()).toEqual([a, b, t]);
        expect(await debts('a', 1)).toEqual([b]);
        expect(await debts('b')).toEqual([t]);
        await pass(MINUTE_MS);
        expect(await debts()).toEqual([a, b]);
        expect(await counters.settle(call([budget(1n, 100n, 'b'), budget(1n, 100n, 'd')]), [1n, 1n])).toMatchObject({
          over: [0],
        });
        await pass(41 * DAY_MS);
        expect(await debts()).toEqual([]);
      });
    });

    test('a clock that goes back refills nothing, ends nothing twice and opens no period again', async () => {
      const { call, reserve, settle, pass, read } = await scene();
      await reserve(call([requests(1n), budget(10n)], 30_000));
      await pass(40_000);
      expect(await read('budget')).toEqual({ used: 10n, held: 0n });
      await pass(-35_000);
      expect(await reserve(call([requests(1n)]))).toMatchObject({
        admitted: false,
        states: [{ waitMs: 20_000 + 35_000 }],
      });
      const second = call([budget(10n)], 30_000);
      await reserve(second);
      await pass(30_000);
      expect(await read('budget')).toEqual({ used: 10n, held: 10n });
      await pass(35_000);
      expect(await read('budget')).toEqual({ used: 20n, held: 0n });
      await settle(second, 3n);
      await pass(41 * DAY_MS);
      expect(await read('budget')).toEqual({ used: 0n, held: 0n });
      await pass(-41 * DAY_MS);
      expect((await reserve(call([budget(1n)]))).admitted).toBe(false);
    });

    test('works off the leases of a dead gateway in steps, and never admits too much meanwhile', async () => {
      const { call, reserve, pass, read } = await scene();
      for (let i = 0; i < 150; i++) await reserve(call([atOnce(200n), budget(2n)], 1_000));
      await pass(1_000);
      for (let i = 0; i < 4; i++) {
        const { used, held } = await read('budget');
        expect(used + held).toBe(300n);
      }
      expect(await read('budget')).toEqual({ used: 300n, held: 0n });
      expect(await read('at once')).toEqual({ used: 0n, held: 0n });
    });

    test('500 callers at once never settle more than the budget, and use at least 90 % of it', async () => {
      const { under, read } = await scene();
      const { settled, refusals } = await (under.spend?.() ?? spend([under.counters], under.customer));
      expect(settled).toBeLessThanOrEqual(BUDGET_NANOS);
      expect(settled).toBeGreaterThanOrEqual((BUDGET_NANOS * 9n) / 10n);
      expect(refusals).toBeGreaterThan(0);
      expect(await read('budget')).toEqual({ used: settled, held: 0n });
    });

    test('random histories agree with a plain list of everything that happened', {
      timeout: HISTORIES_WANTED > 0 ? FULL_RUN_MS : 60_000,
    }, async () => {
      let histories = 0;
      await fc.assert(
        fc.asyncProperty(history, async ({ calls, moves }) => {
          histories++;
          await replay(await open(), calls, moves);
        }),
        HISTORIES_WANTED > 0
          ? { numRuns: HISTORIES_WANTED }
          : { numRuns: 1_000_000, interruptAfterTimeLimit: options.historiesMs, markInterruptAsFailure: false },
      );
      expect(histories).toBeGreaterThanOrEqual(Math.max(HISTORIES_WANTED, 1));
      console.log(`counters: ${name}: ${histories} random histories`);
    });
  });
}

/** One step of a random history; calls and counters by their number. */
type Move =
  | { verb: 'reserve' | 'release'; call: number }
  | { verb: 'settle'; call: number; used: number[] }
  | { verb: 'pass'; ms: number }
  | { verb: 'extend'; call: number; amounts: number[] }
  | { verb: 'seed'; quota: number; used: number }
  | { verb: 'listLive'; max: number }
  | { verb: 'listDebts'; after: number; max: number }
  | { verb: 'read'; counter: number };

/** The counters of the random histories: small, so that they fill up and run over within a few steps. */
const WORLD: readonly Hold[] = [
  { ...requests(3n, 3n, 1_000), counter: 'requests/s' },
  { ...requests(50n, 7n, MINUTE_MS), counter: 'requests/m', amount: 2n } as Hold,
  { ...tokens(0n, 100n, 40n), counter: 'tokens/m' },
  { ...tokens(0n, 7n, 100n), counter: 'tokens/s', windowMs: 1_000 } as Hold,
  atOnce(3n),
  budget(0n, 100n, 'budget'),
  budget(0n, 60n, 'ending soon', START_MS + 20_000),
  { ...tokens(0n, 9n, 12n), counter: 'soft tokens', windowMs: 1_000, soft: true } as Hold,
  { ...budget(0n, 50n, 'soft budget'), soft: true, warnAt: [10n, 40n, 50n, 90n] } as Hold,
  { ...budget(0n, 200n, 'known'), series: { name: 'series', startMs: START_MS - 5_000 }, warnAt: [20n, 100n] } as Hold,
  { ...budget(0n, 200n, 'known later'), series: { name: 'series', startMs: START_MS + 5_000 } } as Hold,
];
/** The quotas among them. */
const QUOTAS = [...WORLD.keys()].filter((index) => WORLD[index]?.kind === 'quota');

const holdsArbitrary = fc
  .subarray([...WORLD.keys()], { minLength: 0 })
  .chain((chosen) => fc.tuple(...chosen.map((index) => fc.nat({ max: 30 }).map((amount) => holdOf(index, amount)))));

function holdOf(index: number, amount: number): Hold {
  const hold = WORLD[index];
  if (!hold) throw new RangeError('no such counter');
  if (hold.kind === 'concurrency' || (hold.kind === 'rate' && hold.counted === 'admission')) return hold;
  return { ...hold, amount: BigInt(amount) };
}

const callArbitrary = fc.record({
  holds: holdsArbitrary,
  leaseMs: fc.constantFrom(1, 500, 2_000, 10_000, HOUR_MS, DAY_MS),
});

const millisecondsArbitrary = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(0, 1, 2, 333, 500, 1_000, 1_999, 7_000) },
  { weight: 3, arbitrary: fc.integer({ min: -5_000, max: 20_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(HOUR_MS, HOUR_MS - 1, DAY_MS, 8 * DAY_MS, -HOUR_MS, -8 * DAY_MS) },
);

const LENGTH = { minLength: WORLD.length, maxLength: WORLD.length };
const callIndex = fc.nat({ max: 9 });
const moveArbitrary: fc.Arbitrary<Move> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ verb: fc.constant('reserve' as const), call: callIndex }) },
  {
    weight: 4,
    arbitrary: fc.record({
      verb: fc.constant('settle' as const),
      call: callIndex,
      used: fc.array(fc.oneof(fc.nat({ max: 30 }), fc.nat({ max: 200 })), LENGTH),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      verb: fc.constant('extend' as const),
      call: callIndex,
      amounts: fc.array(fc.nat({ max: 50 }), LENGTH),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ verb: fc.constant('listLive' as const), max: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      verb: fc.constant('listDebts' as const),
      after: fc.nat({ max: WORLD.length - 1 }),
      max: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ verb: fc.constant('release' as const), call: callIndex }) },
  { weight: 4, arbitrary: fc.record({ verb: fc.constant('pass' as const), ms: millisecondsArbitrary }) },
  {
    weight: 1,
    arbitrary: fc.record({
      verb: fc.constant('seed' as const),
      quota: fc.constantFrom(...QUOTAS),
      used: fc.nat({ max: 80 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ verb: fc.constant('read' as const), counter: fc.nat({ max: WORLD.length - 1 }) }),
  },
);

const history = fc.record({
  calls: fc.array(callArbitrary, { minLength: 10, maxLength: 10 }),
  moves: fc.array(moveArbitrary, { maxLength: 60, size: 'max' }),
});

/** fast-check prints the seed and the smallest history that fails. */
async function replay(
  under: CountersUnderTest,
  calls: readonly { holds: Hold[]; leaseMs: number }[],
  moves: readonly Move[],
): Promise<void> {
  const { customer } = under;
  const reservations = calls.map(({ holds, leaseMs }, i) => ({
    id: `req_${i}`,
    customer,
    atMs: START_MS,
    leaseMs,
    holds,
  }));
  const readAll: Move[] = WORLD.map((_, counter) => ({ verb: 'read', counter }));
  const oracle = new CountersOracle();
  const steps: Step[] = [];
  const wanted: StepValue[] = [];
  let clockMs = START_MS;
  for (const move of [...moves, ...readAll]) {
    if (move.verb === 'pass') {
      clockMs += move.ms;
    } else if (move.verb === 'read') {
      const hold = at(WORLD, move.counter);
      steps.push({ verb: 'read', customer, clockMs, counter: hold.counter });
      wanted.push(oracle.read(hold, clockMs));
    } else if (move.verb === 'seed') {
      const hold = at(WORLD, move.quota);
      if (hold.kind !== 'quota') throw new RangeError('only quotas are seeded');
      const { counter, expiresAtMs, series } = hold;
      const seed = { counter, used: BigInt(move.used), expiresAtMs, ...(series && { series }) };
      steps.push({ verb: 'seed', customer, clockMs, seed });
      wanted.push(undefined);
      oracle.seed(hold, seed, clockMs);
    } else if (move.verb === 'listLive') {
      // The second page begins where the first one ends.
      const first = oracle.listLive(null, move.max, clockMs);
      for (const after of [null, first.at(-1) ?? null]) {
        const place = after && { untilMs: after.untilMs, id: after.id };
        steps.push({ verb: 'listLive', customer, clockMs, after: place, max: move.max });
        wanted.push(oracle.listLive(place, move.max, clockMs));
      }
    } else if (move.verb === 'listDebts') {
      const { counter: after } = at(WORLD, move.after);
      steps.push({ verb: 'listDebts', customer, clockMs, after, max: move.max });
      wanted.push(oracle.listDebts(WORLD, after, move.max, clockMs));
    } else if (move.verb === 'extend') {
      const reservation = at(reservations, move.call);
      const amounts = reservation.holds.map((_, i) => BigInt(at(move.amounts, i)));
      steps.push({ verb: 'extend', customer, clockMs, reservation, amounts });
      wanted.push(oracle.extend(reservation, amounts, clockMs));
    } else if (move.verb === 'settle') {
      const reservation = at(reservations, move.call);
      const used = reservation.holds.map((_, i) => BigInt(at(move.used, i)));
      steps.push({ verb: 'settle', customer, clockMs, reservation, used, event: '' });
      wanted.push(oracle.settle(reservation, used, clockMs));
    } else {
      const reservation = at(reservations, move.call);
      steps.push({ verb: move.verb, customer, clockMs, reservation });
      wanted.push(move.verb === 'reserve' ? oracle.reserve(reservation, clockMs) : undefined);
      if (move.verb === 'release') oracle.release(reservation, clockMs);
    }
  }
  const answers = under.run ? await under.run(steps) : await runOneByOne(under, steps);
  // Said together with the step, so that a failure reads as a story.
  expect(steps.map((step, i) => ({ step, answer: answers[i] }))).toEqual(
    steps.map((step, i) => ({ step, answer: wanted[i] })),
  );
}

async function runOneByOne({ counters, setClock }: CountersUnderTest, steps: readonly Step[]): Promise<StepValue[]> {
  const answers: StepValue[] = [];
  for (const step of steps) {
    if (step.clockMs !== null) await setClock(step.clockMs);
    answers.push(await runStep(counters, step));
  }
  return answers;
}

async function runStep(counters: CounterStore, step: Step): Promise<StepValue> {
  switch (step.verb) {
    case 'reserve':
      return counters.reserve(step.reservation);
    case 'settle':
      return counters.settle(step.reservation, step.used, step.event);
    case 'release':
      await counters.release(step.reservation);
      return undefined;
    case 'seed':
      await counters.seed(step.customer, step.seed);
      return undefined;
    case 'extend':
      return counters.extend(step.reservation, step.amounts);
    case 'listLive':
      return counters.listLive(step.customer, step.after, step.max);
    case 'listDebts':
      return counters.listDebts(step.customer, step.after, step.max);
    case 'read':
      return counters.read(step.customer, step.counter);
    default:
      throw new RangeError(`${step.verb} is no verb of the counters`);
  }
}

function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new RangeError(`nothing at ${index}`);
  return item;
}
