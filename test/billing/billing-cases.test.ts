import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runBillingCases } from './run-billing-cases.ts';

/** Cases from public test suites, where they are at hand: ../shared/data beside the clone. */
const CASES = fileURLToPath(new URL('../../../shared/data/billing-cases.json', import.meta.url));

const COVERED = [
  'RATE-001',
  'RATE-002',
  'RATE-003',
  'RATE-005',
  'RATE-007',
  'RATE-008',
  'RATE-010',
  'RATE-011',
  'RATE-013',
  'RATE-014',
  'RATE-015',
  'RATE-006',
  'RATE-018',
  'RATE-019',
  'RATE-022',
  'RATE-024',
  'RATE-026',
  'RATE-028',
  'RATE-031',
  'TAX-007',
  'PRO-013',
  'PRO-015',
  'CAL-001',
  'CAL-003',
  'CAL-005',
  'RND-001',
  'RND-002',
  'RND-003',
  'DED-001',
  'AGG-002',
  'AGG-003',
  'AGG-004',
  'AGG-006',
  'AGG-008',
];

describe.skipIf(!existsSync(CASES))('neutral billing cases', () => {
  it('come out as their sources say, where the engine can express them', async () => {
    const results = await runBillingCases(CASES);
    expect(results.filter(({ outcome }) => outcome === 'fail')).toEqual([]);
    const passed = results.filter(({ outcome }) => outcome === 'pass').map(({ id }) => id);
    expect(passed).toEqual(expect.arrayContaining(COVERED));
  }, 120_000);
});
