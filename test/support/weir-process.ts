import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

export type Role = 'serve' | 'gateway' | 'billing' | 'jobs';

export interface WeirProcess {
  /** Where each role listens, as it printed. */
  readonly urls: Readonly<Partial<Record<'gateway' | 'billing', string>>>;
  readonly pid: number;
  /** All that it printed so far, for messages of failed tests. */
  output(): string;
  /** SIGKILL, and wait until it is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and wait for its exit code. */
  terminate(): Promise<number | null>;
}

const CLI = path.join(import.meta.dirname, '../../src/cli.ts');
const READY = /^(gateway|billing) listens on (http:\/\/\S+)$/gm;
const JOBS_READY = /^jobs run$/m;
const START_TIMEOUT_MS = 60_000;

/** Starts Weir as its own process and resolves when the roles say that they listen. Rejects with its output when it ends before. */
export async function startWeir(role: Role, environment: Record<string, string>): Promise<WeirProcess> {
  const child = spawn(process.execPath, [CLI, role], {
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const wanted = role === 'serve' ? 2 : 1;
  await new Promise<void>((resolve, reject) => {
    const timeout = setTimeout(() => reject(new Error(`weir ${role} did not start:\n${printed}`)), START_TIMEOUT_MS);
    const onOutput = (chunk: Buffer): void => {
      printed += chunk.toString();
      const ready = role === 'jobs' ? JOBS_READY.test(printed) : [...printed.matchAll(READY)].length >= wanted;
      if (!ready) return;
      clearTimeout(timeout);
      resolve();
    };
    child.stdout.on('data', onOutput);
    child.stderr.on('data', onOutput);
    child.once('error', reject);
    child.once('exit', (code) => {
      clearTimeout(timeout);
      reject(new Error(`weir ${role} ended with ${code}:\n${printed}`));
    });
  });
  return {
    urls: Object.fromEntries([...printed.matchAll(READY)].map((match) => [match[1], match[2]])),
    pid: pidOf(child),
    output: () => printed,
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
    terminate: async () => {
      child.kill('SIGTERM');
      const [code] = await exited;
      return code;
    },
  };
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the process did not start');
  return child.pid;
}
