import { existsSync, mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { relative, resolve } from 'node:path';
import { asDataDirFault } from '#config/data-dir.ts';
import { type Environment, readEnvironment } from '#config/environment.ts';
import { Fault } from '#core/fault.ts';
import { DEFAULT_NAMESPACE } from '#core/redis-keys.ts';
import { reachable } from './address.ts';
import { adminTokenOf, DATA_DIR } from './admin-token.ts';
import { closeInOrder } from './close.ts';
import { type ConfigOrigin, type ConfigSource, openConfig } from './config-source.ts';
import type { Demo } from './demo.ts';
import { createLog } from './log.ts';

export type Command = 'serve' | 'gateway' | 'billing' | 'jobs';

const CONFIG_FILE = 'weir.yaml';

interface Setting {
  environment: Environment;
  dataDir: string;
  version: string;
}

interface Closable {
  close(): Promise<void>;
}

/** Runs the roles of a command until SIGTERM or SIGINT, drains, and gives the exit code. */
export async function run(command: Command): Promise<number> {
  const signal = signalled();
  const running: Closable[] = [];
  // The gateway first: what it still closes must find billing there.
  const closeAll = (): Promise<void> => closeInOrder(running.toReversed().map((role) => () => role.close()));
  try {
    // A start can wait for a database: a signal ends it there and then. What it had begun is made to be killed.
    await Promise.race([start(command, running), signal]);
  } catch (error) {
    await closeInOrder([() => Promise.reject(asDataDirFault(error)), closeAll]);
  }
  await signal;
  await closeAll();
  return 0;
}

async function start(command: Command, running: Closable[]): Promise<void> {
  const setting = await readSetting();
  const { origin, demo } = await originOf(command, setting, running);
  // What the configuration says of logging is known only once it is read.
  const config = await openConfig(origin, process.env, createLog('info', command));
  running.push({ close: async () => config.close() });
  await startRoles(command, setting, origin, config, demo, running);
}

async function startRoles(
  command: Command,
  setting: Setting,
  origin: ConfigOrigin,
  config: ConfigSource,
  demo: Demo | undefined,
  running: Closable[],
): Promise<void> {
  const { environment, dataDir, version } = setting;
  const { telemetry: telemetrySettings, billing: billingSettings } = config.current;
  const log = createLog(telemetrySettings.logLevel, command);
  const { databaseUrl, redisUrl } = environment;
  const namespace = environment.namespace ?? DEFAULT_NAMESPACE;
  const admin = adminTokenOf(dataDir, environment.adminToken);
  const clock = Date.now;
  const ofBilling = { dataDir, databaseUrl, redisUrl, namespace, adminToken: admin.token, version };

  if (command === 'billing' || command === 'jobs') {
    if (command === 'jobs' && databaseUrl === null) {
      const detail =
        'weir jobs wants DATABASE_URL: the embedded database is open in one process, where its jobs run too.';
      throw new Fault('config_invalid', { detail });
    }
    const parts = { api: command === 'billing', jobs: command === 'jobs' || databaseUrl === null };
    const { startBillingRole } = await import('./billing-role.ts');
    const role = await startBillingRole({ ...ofBilling, parts, config, log, clock });
    running.push(role);
    if (admin.made) print(`The admin token of the billing API was made: ${admin.token}`);
    print(role.url === null ? 'jobs run' : `billing listens on ${role.url}`);
    return;
  }

  let billingUrl = billingSettings.url ?? reachable(`http://${billingSettings.host}:${billingSettings.port}`);
  if (command === 'serve') {
    const data = {
      ...ofBilling,
      parts: { api: true, jobs: true },
      config: origin,
      env: process.env,
      logLevel: telemetrySettings.logLevel,
    };
    const { startBillingThread } = await import('./billing-thread.ts');
    const billing = await startBillingThread(data, log);
    running.push(billing);
    billingUrl = billing.url ?? billingUrl;
    print(`billing listens on ${billingUrl}`);
  }
  const [{ startTelemetry }, { startGatewayRole }] = await Promise.all([
    import('#proxy/telemetry/node-telemetry.ts'),
    import('./gateway-role.ts'),
  ]);
  const telemetry = await startTelemetry({ config: config.current, log, clock, version });
  running.push({ close: () => telemetry.stop() });
  const gateway = await startGatewayRole({
    config,
    dataDir,
    redisUrl,
    namespace,
    billing: { url: billingUrl, token: environment.billingToken ?? admin.token },
    adminToken: admin.token,
    telemetry,
    log,
    clock,
  });
  running.push(gateway);
  print(`gateway listens on ${gateway.url}`);
  if (demo) print(welcome({ demo, gatewayUrl: gateway.url, billingUrl, adminToken: admin.token, dataDir }));
  else if (admin.made) print(`The admin token of the billing API was made: ${admin.token}`);
}

/** `weir migrate`: prints what was applied. */
export async function migrateCommand(): Promise<number> {
  const log = createLog('info', 'migrate');
  const { migrateDatabase } = await import('./billing-role.ts');
  const migrated = readSetting().then(({ environment, dataDir }) =>
    migrateDatabase({ databaseUrl: environment.databaseUrl, dataDir, log }),
  );
  const applied = await migrated.catch((error: unknown) => Promise.reject(asDataDirFault(error)));
  print(applied.length === 0 ? 'The schema is up to date.' : `Applied ${applied.join(', ')}.`);
  return 0;
}

async function readSetting(): Promise<Setting> {
  const environment = readEnvironment(process.env);
  const dataDir = resolve(environment.dataDir ?? DATA_DIR);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const manifest = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  return { environment, dataDir, version };
}

async function originOf(
  command: Command,
  { environment, dataDir }: Setting,
  running: Closable[],
): Promise<{ origin: ConfigOrigin; demo?: Demo }> {
  const file = environment.configFile ?? (existsSync(CONFIG_FILE) ? CONFIG_FILE : null);
  if (file !== null) return { origin: { file, upstreams: null } };
  if (command !== 'serve') {
    const detail = `There is none: set WEIR_CONFIG, or put a ${CONFIG_FILE} here. Only \`weir serve\` has a demonstration mode.`;
    throw new Fault('config_invalid', { detail });
  }
  const [{ startSampleUpstream }, { prepareDemo }] = await Promise.all([
    import('#proxy/upstream/sample-node.ts'),
    import('./demo.ts'),
  ]);
  const sample = await startSampleUpstream();
  running.push(sample);
  const demo = await prepareDemo(dataDir, sample.url, process.env);
  return { origin: demo.config, demo };
}

function welcome(parts: {
  demo: Demo;
  gatewayUrl: string;
  billingUrl: string;
  adminToken: string;
  dataDir: string;
}): string {
  const { demo, gatewayUrl, billingUrl, adminToken, dataDir } = parts;
  return `
Weir is running in demonstration mode. Its data is in ${relative(process.cwd(), dataDir) || '.'}.

  Base URL   ${gatewayUrl}/v1
  Key        ${demo.secret}
  Console    ${billingUrl}/#token=${adminToken}
  Config     ${relative(process.cwd(), demo.config.file)} (edit it: it reloads by itself)

Try it:

  curl ${gatewayUrl}/v1/chat/completions -H "Authorization: Bearer ${demo.secret}" -H "Content-Type: application/json" -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}'
`;
}

/** The first signal drains, the next ends the process: the first one of a container has no system that would do it. */
function signalled(): Promise<void> {
  return new Promise((done) => {
    let isFirst = true;
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.on(name, () => {
        if (!isFirst) process.exit(128 + constants.signals[name]);
        isFirst = false;
        done();
      });
    }
  });
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
