import { expect, it } from 'vitest';
import type { Hold } from './counters.ts';
import { holdTexts } from './hold-texts.ts';

const RATE: Hold = {
  ...{ kind: 'rate', counter: 'tokens/minute/tpm', amount: 5n, limit: 100n, burst: 100n },
  ...{ windowMs: 60_000, counted: 'settlement' },
};
const SERIES = { name: 'budget/month/b', startMs: 0 };
const QUOTA: Hold = {
  ...{ kind: 'quota', counter: 'budget/month/b/2026-11', amount: 5n, limit: 100n, expiresAtMs: 1_000 },
  ...{ warnAt: [50n], currency: 'USD', series: SERIES },
};

function counting() {
  let made = 0;
  const textsOf = holdTexts((hold) => {
    made++;
    return JSON.stringify(hold, (key, value) =>
      key === 'amount' ? undefined : typeof value === 'bigint' ? `${value}` : value,
    );
  });
  return { textsOf, made: () => made };
}

it('makes the text of a hold once, whatever its amounts', () => {
  const { textsOf, made } = counting();
  const text = textsOf(RATE);
  expect(textsOf({ ...RATE, amount: 7n })).toBe(text);
  expect(textsOf({ ...QUOTA })).toBe(textsOf({ ...QUOTA, amount: 9n, series: { ...SERIES } }));
  expect(made()).toBe(2);
});

it('makes it anew whenever anything else of it differs, and knows a hold that was changed in place', () => {
  const others: Hold[] = [
    RATE,
    { ...RATE, limit: 101n },
    { ...RATE, burst: 1n },
    { ...RATE, windowMs: 1_000 },
    { ...RATE, counted: 'admission' },
    { ...RATE, soft: true },
    { kind: 'concurrency', counter: RATE.counter, amount: 1n, limit: 100n },
    { ...QUOTA, counter: RATE.counter },
    { ...QUOTA, counter: RATE.counter, expiresAtMs: 2_000 },
    { ...QUOTA, counter: RATE.counter, warnAt: [60n] },
    { ...QUOTA, counter: RATE.counter, currency: 'EUR' },
    { ...QUOTA, counter: RATE.counter, series: { ...SERIES, startMs: 1 } },
    { kind: 'quota', counter: RATE.counter, amount: 5n, limit: 100n, expiresAtMs: 1_000 },
  ];
  const { textsOf } = counting();
  const fresh = (hold: Hold) => counting().textsOf(hold);
  for (const before of others)
    for (const hold of others) {
      textsOf(before);
      expect(textsOf(hold)).toBe(fresh(hold));
    }
  const changing = { ...RATE };
  textsOf(changing);
  changing.limit = 7n;
  expect(textsOf(changing)).toBe(fresh(changing));
});

it('forgets when there are many', () => {
  const { textsOf, made } = counting();
  for (let round = 0; round < 2; round++)
    for (let i = 0; i < 1_500; i++) expect(textsOf({ ...RATE, counter: `c${i}` })).toContain(`c${i}"`);
  expect(made()).toBeGreaterThan(1_500);
});
