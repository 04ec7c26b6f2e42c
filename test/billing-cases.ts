import { runBillingCases } from './billing/run-billing-cases.ts';

/** `npm run billing-cases -- FILE` prints a line per case and counts them in the last one. */
const [file] = process.argv.slice(2);
if (file === undefined) {
  console.error('usage: npm run billing-cases -- FILE');
  process.exit(2);
}

const results = await runBillingCases(file, {
  onResult: ({ id, outcome, text }) => console.log(`${outcome.toUpperCase()} ${id}${text === '' ? '' : `: ${text}`}`),
});
const count = (outcome: string) => results.filter((result) => result.outcome === outcome).length;
console.log(`${count('pass')} passed, ${count('fail')} failed, ${count('unsupported')} unsupported`);
process.exitCode = count('fail') === 0 ? 0 : 1;
