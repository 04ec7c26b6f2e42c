/**
 * How many quantities a second are rated at a price, on one core: `node bench/rating.ts [SECONDS]`. Each is a charge of a
 * period on its own, assigned, priced with its steps, rounded to a line: what an invoice, a preview or a simulation does
 * with each charge once its usage is read. Quantities are made beforehand.
 */

import { DEFAULT_POLICIES } from '#billing/rating/policies.ts';
import { assign, documentOf, rate, type Terms } from '#billing/rating/rating.ts';
import { chargeTerms } from '#config/charge-terms.ts';
import { exact, ONE } from '#core/exact.ts';

const seconds = BigInt(process.argv[2] ?? '5');
const span = { startMs: 0, endMs: 1, zone: 'UTC', share: ONE, first: true };
const TIERS = [
  { up_to: '1000000', amount: '2.50', per: '1000000', flat: '5' },
  { up_to: '10000000', amount: '2.25', per: '1000000' },
  { up_to: '100000000', amount: '1.999', per: '1000000' },
  { amount: '1.75', per: '1000000' },
];
const PRICES = {
  unit: { kind: 'unit', amount: '2.50', per: '1000000' },
  graduated: { kind: 'graduated', tiers: TIERS },
  volume: { kind: 'volume', tiers: TIERS },
  package: { kind: 'package', size: '1000', amount: '0.01' },
} as const;

const quantities = Array.from({ length: 4_096 }, (_, i) => exact((BigInt(i) * 7_919_919n) % 250_000_000n));

for (const [name, price] of Object.entries(PRICES)) {
  const charge = { ...chargeTerms.parse({ meter: 'output_tokens', price }), price_id: 'prc', unit: 'output_tokens' };
  const terms: Terms = { currency: 'USD', feeNanos: null, charges: [charge] };
  const rateOne = (i: number): bigint => {
    const quantity = quantities[i & 4_095] ?? ONE;
    const assigned = assign(terms.charges, [{ model: 'gpt-4o', unit: 'output_tokens', quantity }]);
    return documentOf(rate(terms, assigned, span, DEFAULT_POLICIES), 'USD', DEFAULT_POLICIES).total.nanos;
  };
  let sum = 0n;
  for (let i = 0; i < 100_000; i++) sum += rateOne(i);
  const startedAt = process.hrtime.bigint();
  let rated = 0;
  while (process.hrtime.bigint() - startedAt < seconds * 1_000_000_000n) {
    for (let i = 0; i < 1_000; i++) sum += rateOne(rated + i);
    rated += 1_000;
  }
  const nanos = process.hrtime.bigint() - startedAt;
  const perSecond = (BigInt(rated) * 1_000_000_000n) / nanos;
  console.log(`${name}: ${perSecond.toLocaleString('en')} rated quantities/s (check sum ${sum % 1_000_000_007n})`);
}
