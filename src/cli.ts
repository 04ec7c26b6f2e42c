#!/usr/bin/env node
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { Fault } from '#core/fault.ts';
import { holdYoungGeneration } from './young-generation.ts';

const USAGE = `Usage: weir COMMAND

  serve            gateway, billing API and jobs in one process
  gateway          the gateway alone
  billing          the billing API and console alone
  jobs             the scheduled jobs alone
  migrate          bring the database schema up to date
  check FILE       print every problem of a configuration
  schema           print the JSON Schema of the configuration
  limits CUSTOMER  what the calls of a customer hold and what it owes, from a gateway (--gateway URL)
  key new [--live] make a key's secret: printed once, with the hash that goes into the configuration
  version, help

Environment: WEIR_CONFIG, WEIR_DATA_DIR, DATABASE_URL, REDIS_URL, WEIR_ADMIN_TOKEN. See README.md.
`;

/** Exit codes: 0 done, 1 failed, 2 called wrongly. */
async function main(argv: string[]): Promise<number> {
  const { positionals, values } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      live: { type: 'boolean', default: false },
      gateway: { type: 'string', default: 'http://127.0.0.1:8787' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [command, ...rest] = positionals;
  if (values.help || command === 'help') {
    process.stdout.write(USAGE);
    return 0;
  }
  switch (command) {
    case 'serve':
    case 'gateway':
    case 'billing':
    case 'jobs': {
      // Before the code of the roles is compiled: docs/decisions/0014.
      setFlagsFromString('--no-allocation-site-pretenuring');
      if (command === 'serve' || command === 'gateway') holdYoungGeneration();
      const { run } = await import('./node.ts');
      // At once: what could still keep the process is nothing that anybody waits for.
      return process.exit(await run(command));
    }
    case 'migrate': {
      const { migrateCommand } = await import('./node.ts');
      return await migrateCommand();
    }
    case 'check':
      return rest[0] === undefined ? wrong('check wants a FILE.') : await check(rest[0]);
    case 'schema': {
      const { configJsonSchema } = await import('#config/json-schema.ts');
      process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
      return 0;
    }
    case 'limits': {
      const [customer] = rest;
      if (customer === undefined) return wrong('limits wants a CUSTOMER.');
      const { limitsCommand } = await import('./limits-command.ts');
      return await limitsCommand(customer, values.gateway);
    }
    case 'key':
      return rest[0] === 'new' ? await newKey(values.live) : wrong('key knows one thing: key new.');
    case 'version': {
      const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
      process.stdout.write(`${version}\n`);
      return 0;
    }
    default:
      return wrong(command === undefined ? 'No command was given.' : `There is no command ${command}.`);
  }
}

async function check(file: string): Promise<number> {
  const { checkConfig } = await import('#config/file.ts');
  const problems = await checkConfig(file, process.env);
  for (const problem of problems) process.stdout.write(`${problem}\n`);
  process.stdout.write(problems.length === 0 ? `${file} is right.\n` : `${problems.length} mistakes.\n`);
  return problems.length === 0 ? 0 : 1;
}

async function newKey(live: boolean): Promise<number> {
  const { newSecret } = await import('#config/secret.ts');
  const { sha256Hex } = await import('#config/hash.ts');
  const secret = newSecret(live ? 'live' : 'test');
  process.stdout.write(`secret  ${secret}\nhash    sha256:${await sha256Hex(secret)}\n`);
  process.stdout.write(
    'The secret is shown this once. Put the hash into the configuration, the secret into the application.\n',
  );
  return 0;
}

function wrong(sentence: string): number {
  process.stderr.write(`weir: ${sentence}\n\n${USAGE}`);
  return 2;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (isUsageError(error)) {
    process.exitCode = wrong(error.message);
  } else {
    for (const each of error instanceof AggregateError ? error.errors : [error]) {
      process.stderr.write(`weir: ${told(each)}\n`);
    }
    process.exit(1);
  }
}

/** A fault is the operator's to mend, so it is told in a sentence; anything else is ours and keeps its stack. */
function told(error: unknown): string {
  if (error instanceof Fault) return error.story === undefined ? error.message : `${error.message} ${error.story}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function isUsageError(error: unknown): error is Error {
  return error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_');
}
