import { isDeepStrictEqual } from 'node:util';
import { migrate } from '#billing/db/migrate.ts';
import { pgliteDatabase } from '#billing/db/pglite.ts';
import { parseExact } from '#core/exact.ts';
import { billingWorld } from '#test/support/billing-world.ts';
import { type BillingCase, readCases, reasonOf, Unsupported } from './case.ts';
import { SHAPES } from './shapes.ts';

/**
 * Somebody else's sums through the real engine: policies set, plan made, usage sent, clock moved, period closed, amounts
 * read, on PGlite in memory. What the engine cannot express is unsupported, never passed.
 */
export interface Result {
  id: string;
  outcome: 'pass' | 'fail' | 'unsupported';
  text: string;
}

export async function runBillingCases(
  file: string,
  options: { onResult?: (result: Result) => void } = {},
): Promise<Result[]> {
  const db = await pgliteDatabase();
  try {
    await migrate(db);
    const world = billingWorld(db, 0);
    const results: Result[] = [];
    for (const given of readCases(file)) {
      const result = await runCase(given, world);
      results.push(result);
      options.onResult?.(result);
    }
    return results;
  } finally {
    await db.close();
  }
}

async function runCase(given: BillingCase, world: ReturnType<typeof billingWorld>): Promise<Result> {
  const { id } = given;
  const shape = SHAPES.find(({ fits }) => fits.safeParse(given).success);
  if (!shape) return { id, outcome: 'unsupported', text: reasonOf(given) };
  try {
    const { got, wanted } = await shape.run(given, world);
    if (isDeepStrictEqual(comparable(got), comparable(wanted))) return { id, outcome: 'pass', text: '' };
    return { id, outcome: 'fail', text: `${print(got)}, ${print(wanted)}` };
  } catch (thrown) {
    if (thrown instanceof Unsupported) return { id, outcome: 'unsupported', text: thrown.message };
    return { id, outcome: 'fail', text: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

/** "2", "2.00" and 2 are one amount; everything else is compared as it stands. */
function comparable(value: unknown): unknown {
  if (typeof value === 'number') return comparable(String(value));
  if (typeof value === 'string') return parseExact(value) ?? value;
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, comparable(part)]));
}

function print(value: unknown): string {
  return JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? part.toString() : part));
}
