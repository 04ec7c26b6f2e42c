import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EnvironmentVariables } from '#config/environment.ts';
import { sha256Hex } from '#config/hash.ts';
import { newSecret } from '#config/secret.ts';
import type { ConfigOrigin } from './config-source.ts';

/**
 * Demonstration mode: what `npm start` does without a configuration. The data directory gets a weir.yaml with one
 * customer, one key and one plan, to be edited: it reloads by itself. Upstreams are not in it; they are the built-in
 * sample, and the real providers whose key is in the environment, until the file names upstreams of its own.
 */
export interface Demo {
  config: ConfigOrigin;
  /** The key's secret, kept so that every start can print a curl line that works. */
  secret: string;
}

interface Provider {
  name: string;
  environmentName: 'OPENAI_API_KEY' | 'ANTHROPIC_API_KEY' | 'GEMINI_API_KEY';
}

/** Each at every address that the catalogue has for it: its own API, and the OpenAI-compatible one beside it. */
const PROVIDERS: readonly Provider[] = [
  { name: 'openai', environmentName: 'OPENAI_API_KEY' },
  { name: 'anthropic', environmentName: 'ANTHROPIC_API_KEY' },
  { name: 'google', environmentName: 'GEMINI_API_KEY' },
];

export async function prepareDemo(dataDir: string, sampleUrl: string, env: EnvironmentVariables): Promise<Demo> {
  const configFile = join(dataDir, 'weir.yaml');
  const secretFile = join(dataDir, 'demo-key');
  if (!existsSync(secretFile)) writeFileSync(secretFile, newSecret('test'), { mode: 0o600 });
  chmodSync(secretFile, 0o600);
  const secret = readFileSync(secretFile, 'utf8').trim();
  if (!existsSync(configFile)) writeFileSync(configFile, demoConfig(await sha256Hex(secret)));
  return { config: { file: configFile, upstreams: upstreamSection(sampleUrl, env) }, secret };
}

function demoConfig(secretHash: string): string {
  return `# Weir's demonstration configuration. Edit it: Weir reloads it by itself, and keeps the old one when the new one is wrong.
# Upstreams are the built-in sample and the providers whose key is in the environment (OPENAI_API_KEY,
# ANTHROPIC_API_KEY, GEMINI_API_KEY). Write an \`upstreams:\` section to use your own. docs/configuration.md has every field.

gateway: { port: \${WEIR_GATEWAY_PORT:-8787} }
billing: { port: \${WEIR_BILLING_PORT:-8788} }

customers:
  acme:
    name: Acme Inc
    timezone: UTC
    plan: starter
    limits:
      - { budget: 20 USD, per: month, mode: hard }
      - { tokens: 1M, per: minute }
    keys:
      acme-demo:
        secret: "sha256:${secretHash}"
        limits:
          - { requests: 600, per: minute } # change 600 to 3 and call four times to see a refusal

plans: # a fee or price that you change counts from the next period; the console says so under the preview
  starter:
    name: Starter
    currency: USD
    fee: 10
    prices:
      - { unit: calls, amount: 0.01, per: 1 }
      - { unit: input_tokens, amount: 0.30, per: 1M }
      - { unit: cache_read_tokens, amount: 0.15, per: 1M }
      - { unit: output_tokens, amount: 1.20, per: 1M }
`;
}

function upstreamSection(sampleUrl: string, env: EnvironmentVariables): string {
  const real = PROVIDERS.filter((provider) => env[provider.environmentName]);
  const lines = real.map(
    ({ name, environmentName }) => `  ${name}: { provider: ${name}, key: "\${${environmentName}}" }`,
  );
  // With a real key the sample would only shadow that provider's own models.
  const samples = [
    { provider: 'openai', line: `  sample: { wire: openai, provider: openai, base_url: "${sampleUrl}/v1" }` },
    {
      provider: 'anthropic',
      line: `  sample-claude: { wire: anthropic, provider: anthropic, base_url: "${sampleUrl}" }`,
    },
  ];
  for (const { provider, line } of samples) if (!real.some(({ name }) => name === provider)) lines.push(line);
  return `upstreams:\n${lines.join('\n')}\n`;
}
