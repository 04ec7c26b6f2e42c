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

export function readEnvironment(variables: EnvironmentVariables): Environment {
  const environment: Partial<Record<keyof Environment, string | null>> = {};
  for (const field in ENVIRONMENT_NAMES) {
    const name = field as keyof Environment;
    environment[name] = variables[ENVIRONMENT_NAMES[name]] || null;
  }
  return environment as Environment;
}
