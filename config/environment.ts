import { Fault } from '#core/fault.ts';
import { parseRedisUrl } from './redis-address.ts';

/**
 * Every name of the environment that Weir itself reads, once, by the mains. Names inside a configuration file are the
 * operator's own. An empty value is as good as none.
 */
export const ENVIRONMENT_NAMES = {
  configFile: 'WEIR_CONFIG',
  dataDir: 'WEIR_DATA_DIR',
  adminToken: 'WEIR_ADMIN_TOKEN',
  databaseUrl: 'DATABASE_URL',
  redisUrl: 'REDIS_URL',
  /** Keeps several Weirs on one Redis apart. */
  namespace: 'WEIR_NAMESPACE',
  /** What a gateway in a process of its own shows to billing: a token of the role `ingest`. */
  billingToken: 'WEIR_BILLING_TOKEN',
  openaiApiKey: 'OPENAI_API_KEY',
  anthropicApiKey: 'ANTHROPIC_API_KEY',
  geminiApiKey: 'GEMINI_API_KEY',
} as const;

export type Environment = Readonly<Record<keyof typeof ENVIRONMENT_NAMES, string | null>>;

/** What a process was started with (`process.env`), or a Worker was bound to. */
export type EnvironmentVariables = Readonly<Record<string, string | undefined>>;

/** What can be told to be wrong without asking: what else is wrong with addresses, the server says. */
const FORMS = [
  [
    'databaseUrl',
    (url: string) => /^(postgres|postgresql):$/.test(URL.parse(url)?.protocol ?? ''),
    'postgres://user:password@host:5432/name',
  ],
  [
    'redisUrl',
    (url: string) => parseRedisUrl(url) !== undefined,
    'redis://host:6379, or redis+cluster://host:6379,host:6379',
  ],
  // Braces mark what keys in Redis have in common, so that they lie in one slot: what stands in them first, counts.
  ['namespace', (name: string) => !/[{}]/.test(name), 'of a name without { and }'],
] as const;

/** Throws `environment_invalid` with everything that is wrong. Addresses are not repeated: they hold passwords. */
export function readEnvironment(variables: EnvironmentVariables): Environment {
  const environment: Partial<Record<keyof Environment, string | null>> = {};
  for (const field in ENVIRONMENT_NAMES) {
    const name = field as keyof Environment;
    environment[name] = variables[ENVIRONMENT_NAMES[name]] || null;
  }
  const wrong = FORMS.filter(([field, isRight]) => {
    const value = environment[field];
    return typeof value === 'string' && !isRight(value);
  }).map(([field, , form]) => `${ENVIRONMENT_NAMES[field]} must have the form ${form}.`);
  if (wrong.length > 0) throw new Fault('environment_invalid', { detail: wrong.join(' ') });
  return environment as Environment;
}
