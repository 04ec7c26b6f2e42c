import { runWireCases } from './wire/run-wire-cases.ts';

/**
 * `npm run wire-cases -- MANIFEST` prints a line per fixture and counts them in the last one. The cuts of large bodies
 * are drawn from a seed, which is printed and can be given as WIRE_CASES_SEED.
 */
const [manifest] = process.argv.slice(2);
if (manifest === undefined) {
  console.error('usage: npm run wire-cases -- MANIFEST');
  process.exit(2);
}

const seed = Number(process.env.WIRE_CASES_SEED ?? Math.floor(Math.random() * 2 ** 32));
console.log(`seed ${seed}`);

const results = await runWireCases(manifest, {
  seed,
  onResult: ({ id, outcome, text }) => console.log(`${outcome.toUpperCase()} ${id}${text === '' ? '' : `: ${text}`}`),
});
const count = (outcome: string) => results.filter((result) => result.outcome === outcome).length;
console.log(`${count('pass')} passed, ${count('fail')} failed, ${count('unsupported')} unsupported`);
process.exitCode = count('fail') === 0 ? 0 : 1;
