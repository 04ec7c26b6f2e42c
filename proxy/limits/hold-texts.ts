import type { Hold } from './counters.ts';

/** Customers have few limits, and every step says them: their texts are kept, so many at once. */
const TEXTS_MAX = 1_024;

/**
 * What a hold says beside its amounts, as text: made when it differs from the last hold of its counter, which is when a
 * limit changes, or a period. A call that makes it anew each time spends more on it than on everything else that it says.
 */
export function holdTexts<Texts>(make: (hold: Hold) => Texts): (hold: Hold) => Texts {
  const known = new Map<string, { hold: Hold; texts: Texts }>();
  return (hold) => {
    const last = known.get(hold.counter);
    if (last && isAlike(last.hold, hold)) return last.texts;
    const texts = make(hold);
    if (known.size >= TEXTS_MAX) known.clear();
    known.set(hold.counter, { hold: { ...hold }, texts });
    return texts;
  };
}

/** Of one counter, and alike in all but the amount. */
function isAlike(a: Hold, b: Hold): boolean {
  if (a.kind !== b.kind || a.limit !== b.limit || a.soft !== b.soft) return false;
  if (a.kind === 'rate' && b.kind === 'rate') {
    return a.burst === b.burst && a.windowMs === b.windowMs && a.counted === b.counted;
  }
  if (a.kind !== 'quota' || b.kind !== 'quota') return true;
  // Of a limit that counts each user or session by itself every call has a series of its own.
  const isOfSeries = a.series?.name === b.series?.name && a.series?.startMs === b.series?.startMs;
  return a.expiresAtMs === b.expiresAtMs && a.warnAt === b.warnAt && a.currency === b.currency && isOfSeries;
}
