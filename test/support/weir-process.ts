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
  signal(name: 'SIGTERM' | 'SIGINT' | 'SIGHUP'): void;
  /** Its exit code, once it has ended; null when a signal ended it. */
  readonly ended: Promise<number | null>;
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
  const weir = spawnWeir([role], environment);
  const wanted = role === 'serve' ? 2 : 1;
  const isReady = (): boolean =>
    role === 'jobs' ? JOBS_READY.test(weir.output()) : [...weir.output().matchAll(READY)].length >= wanted;
  try {
    await weir.said(isReady, START_TIMEOUT_MS);
    return weir;
  } catch (error) {
    await weir.kill();
    throw error;
  }
}

export interface SpawnedWeir extends WeirProcess {
  /** Resolves when what it printed says so. Rejects with its output when it does not in time, or ends before. */
  said(what: RegExp | (() => boolean), timeoutMs?: number): Promise<void>;
}

/** Starts any command of Weir and waits for nothing. `through`: a command that runs the one that follows it, as itself. */
export function spawnWeir(
  args: readonly string[],
  environment: Record<string, string>,
  through: readonly string[] = [],
): SpawnedWeir {
  const [command = '', ...rest] = [...through, process.execPath, CLI, ...args];
  const child = spawn(command, rest, {
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  const listeners = new Set<() => void>();
  const onOutput = (chunk: Buffer): void => {
    printed += chunk.toString();
    for (const listener of listeners) listener();
  };
  child.stdout.on('data', onOutput);
  child.stderr.on('data', onOutput);
  // Once its output has been read to the end too.
  const ended = once(child, 'close').then(([code]: (number | null)[]) => code ?? null);
  return {
    get urls() {
      return Object.fromEntries([...printed.matchAll(READY)].map((match) => [match[1], match[2]]));
    },
    pid: pidOf(child),
    output: () => printed,
    signal: (name) => {
      child.kill(name);
    },
    ended,
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
    terminate: () => {
      child.kill('SIGTERM');
      return ended;
    },
    said: (what, timeoutMs = 30_000) =>
      new Promise((resolve, reject) => {
        const is = typeof what === 'function' ? what : () => what.test(printed);
        const stop = (): void => {
          clearTimeout(timer);
          listeners.delete(look);
        };
        const fail = (why: string): void => {
          stop();
          reject(new Error(`weir ${args.join(' ')} ${why}, and did not say ${what}:\n${printed}`));
        };
        const timer = setTimeout(() => fail(`took longer than ${timeoutMs} ms`), timeoutMs);
        function look(): void {
          if (!is()) return;
          stop();
          resolve();
        }
        listeners.add(look);
        void ended.then((code) => fail(`ended with ${code}`));
        look();
      }),
  };
}

/** Runs a command of Weir to its end, which is expected within seconds. */
export async function runWeir(
  args: readonly string[],
  environment: Record<string, string>,
): Promise<{ code: number | null; output: string }> {
  const weir = spawnWeir(args, environment);
  const timer = setTimeout(() => void weir.kill(), START_TIMEOUT_MS);
  const code = await weir.ended;
  clearTimeout(timer);
  return { code, output: weir.output() };
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the process did not start');
  return child.pid;
}
