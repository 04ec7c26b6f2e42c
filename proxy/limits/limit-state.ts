import type { Counter } from './counter.ts';
import type { Hold, LivePlace } from './counters.ts';

/** What a store keeps for one customer, as the rule (`decide.ts`) reads and writes it. */
export interface LimitState {
  markMs: number;
  readonly counters: Table<Counter>;
  readonly calls: Table<Call>;
  /** Names of counters that have used more than their limit allows, or had. */
  readonly debts: { add(counter: string): unknown; delete(counter: string): unknown };
  /** By series: since when everything that it counts is counted here. */
  readonly since: Pick<Table<number>, 'get' | 'set'>;
  /** At most `max` live calls with `untilMs <= nowMs`. */
  dueLeases(nowMs: number, max: number): readonly (readonly [id: string, call: HoldingCall])[];
  /** At most `max` live calls behind a place, in their order. */
  listLive(after: LivePlace | null, max: number): readonly (readonly [id: string, call: HoldingCall])[];
  /** At most `max` names of `debts` behind a name, in their order. */
  listDebts(after: string, max: number): readonly string[];
}

export interface Table<Value> {
  get(key: string): Value | undefined;
  set(key: string, value: Value): unknown;
}

/**
 * live: holds count until `untilMs`, the end of the lease. ended: by its lease; its holds say what quotas were charged.
 * closed: settled or released. The latter two are remembered until `untilMs`.
 */
export type Call = HoldingCall | { state: 'closed'; untilMs: number };

export interface HoldingCall {
  state: 'live' | 'ended';
  untilMs: number;
  /** With the amounts that are held now, which an extension raises. */
  holds: readonly Hold[];
}

/** How long a settled or released id is known, so that it is not counted twice. */
export const CLOSED_KEPT_MS = 3_600_000;
/** How long a call whose lease ended can still be corrected: until its gateway's journal is back. */
export const ENDED_KEPT_MS = 7 * 86_400_000;
/** The longest lease: the longest call timeout that can be set (a day), and more than its margin. */
export const LEASE_MS_MAX = 25 * 3_600_000;
/** Leases that end in one step; the others stay held until the next one, which is never too generous. */
export const LEASES_PER_STEP = 64;
