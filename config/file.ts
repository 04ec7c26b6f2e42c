import { readFile } from 'node:fs/promises';
import { Fault } from '#core/fault.ts';
import type { Config } from './config.ts';
import type { EnvironmentVariables } from './environment.ts';
import { formatProblem, getConfig, parseConfig } from './load.ts';

/** The configuration in a file. A Fault names the file that cannot be read, or every mistake in it. */
export async function loadConfig(file: string, env: EnvironmentVariables): Promise<Config> {
  return await getConfig(await readConfigText(file), { env, file });
}

/** What `weir check` prints: a line for every mistake of the file, none when it is right. */
export async function checkConfig(file: string, env: EnvironmentVariables): Promise<string[]> {
  const result = await parseConfig(await readConfigText(file), { env });
  return 'problems' in result ? result.problems.map((problem) => formatProblem(problem, file)) : [];
}

export async function readConfigText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Fault('config_invalid', { detail: `${file} cannot be read: ${why}.`, cause });
  }
}
