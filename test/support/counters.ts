import type { Counters, Reservation, ReserveAnswer } from '#proxy/limits/counters.ts';

/** Counters that limit nothing and remember what was settled and released: for tests of what happens around them. */
export interface RecordingCounters extends Counters {
  readonly settled: Map<string, { used: readonly bigint[]; event: string | undefined }>;
  readonly released: Set<string>;
  /** When set, settle and release fail with it, as with a store that is away. */
  away: Error | undefined;
  /** When true, what fails is done all the same: the answer was lost on the way. */
  answersLost: boolean;
}

const ADMITTED = (): ReserveAnswer => ({ admitted: true, states: [], crossed: [], unknown: [] });

export function recordingCounters(): RecordingCounters {
  const settled: RecordingCounters['settled'] = new Map();
  const released = new Set<string>();
  const isDone = ({ id }: Reservation) => settled.has(id) || released.has(id);
  const counters: RecordingCounters = {
    settled,
    released,
    away: undefined,
    answersLost: false,
    reserve: ADMITTED,
    extend: ADMITTED,
    async settle(reservation, used, event) {
      if (counters.away && !counters.answersLost) throw counters.away;
      const first = !isDone(reservation);
      if (first) settled.set(reservation.id, { used, event });
      if (counters.away) throw counters.away;
      return { settled: first, crossed: [], over: [] };
    },
    async release(reservation) {
      if (counters.away && !counters.answersLost) throw counters.away;
      if (!isDone(reservation)) released.add(reservation.id);
      if (counters.away) throw counters.away;
    },
  };
  return counters;
}
