import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { LIMIT_WARNING_TYPE } from '#core/limit-warning.ts';
import { EVENT_FIELD } from '#core/redis-keys.ts';
import { GATEWAY_SOURCE } from '#core/usage-event.ts';
import { CLOSED_KEPT_MS, ENDED_KEPT_MS, LEASE_MS_MAX, LEASES_PER_STEP } from './limit-state.ts';

export interface Script {
  text: string;
  sha: string;
}

/** How long a customer's keys outlive their last use: longer than anything in them is looked for. */
const KEPT_MS = ENDED_KEPT_MS + LEASE_MS_MAX + 86_400_000;
/** Longer than a year's budget is open, so that a new year does not have to ask for the count of the last. */
const SERIES_KEPT_MS = 400 * 86_400_000;

const NUMBERS = { CLOSED_KEPT_MS, ENDED_KEPT_MS, LEASES_PER_STEP, KEPT_MS, SERIES_KEPT_MS };
const TEXTS = { WARNING_TYPE: LIMIT_WARNING_TYPE, WARNING_SOURCE: GATEWAY_SOURCE, EVENT_FIELD };
const HEAD = Object.entries({ ...NUMBERS, ...TEXTS })
  .map(([name, value]) => `local ${name} = ${JSON.stringify(value)}\n`)
  .join('');

/** The verbs, each one script out of the shared parts of lua/ and its own. */
const VERBS = {
  reserve: ['holds', 'head', 'counter', 'change', 'rare', 'warn', 'hold', 'reserve', 'hold-all'],
  extend: ['holds', 'head', 'counter', 'change', 'rare', 'warn', 'hold', 'extend', 'hold-all'],
  settle: ['holds', 'head', 'counter', 'change', 'rare', 'warn', 'close', 'settle'],
  release: ['fields', 'head', 'counter', 'change', 'rare', 'close', 'release'],
  seed: ['fields', 'head', 'counter', 'change', 'rare', 'seed'],
  doubt: ['fields', 'head', 'counter', 'change', 'rare', 'close', 'doubt'],
  standing: ['fields', 'head', 'counter', 'change', 'rare', 'standing'],
  read: ['fields', 'head', 'counter', 'change', 'rare', 'read'],
  live: ['fields', 'head', 'counter', 'change', 'rare', 'live'],
  debts: ['fields', 'head', 'counter', 'change', 'rare', 'debts'],
  sweep: ['fields', 'head', 'counter', 'change', 'rare', 'sweep'],
} as const;

export type Verb = keyof typeof VERBS;

export function loadScripts(): Record<Verb, Script> {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
  const load = (verb: Verb): Script => {
    const text = `${HEAD}${VERBS[verb].map(read).join('\n')}`;
    return { text, sha: createHash('sha1').update(text).digest('hex') };
  };
  return Object.fromEntries(Object.keys(VERBS).map((verb) => [verb, load(verb as Verb)])) as Record<Verb, Script>;
}
