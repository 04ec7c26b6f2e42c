import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Processes of a benchmark: started, waited for, measured, ended. */
export interface Running {
  readonly pid: number;
  /** What it has printed, for when something is wrong. */
  output(): string;
  stop(): Promise<void>;
}

const START_MS = 30_000;
const STOP_MS = 10_000;
const LOOK_MS = 20;
const OUTPUT_CHARS = 4_000;

/** Starts a program that will listen on a port; resolves when it does. */
export async function startServer(
  command: string,
  args: readonly string[],
  options: { port: number; env?: NodeJS.ProcessEnv; cwd?: string },
): Promise<Running> {
  const child = spawn(command, args, {
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      printed = (printed + data.toString()).slice(-OUTPUT_CHARS);
    });
  }
  const running: Running = { pid: child.pid ?? 0, output: () => printed, stop: () => stop(child) };
  const until = Date.now() + START_MS;
  while (!(await isListening(options.port))) {
    if (child.exitCode !== null || Date.now() > until) {
      await running.stop();
      throw new Error(`${command} ${args.join(' ')} did not start:\n${printed}`);
    }
    await pause(LOOK_MS);
  }
  return running;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
}

/** Runs a program to its end and gives what it printed. */
export async function runProgram(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.on('data', (data: Buffer) => {
    printed += data.toString();
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`${command} ended with ${code}:\n${printed}`);
  return printed;
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Most memory that the process and its children ever had (resident, summed), in megabytes. Linux only; else NaN. */
export function peakMegabytes(pid: number): number {
  try {
    const kilobytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    const own = Number(kilobytes) / 1024;
    return children === '' ? own : children.split(' ').reduce((sum, child) => sum + peakMegabytes(Number(child)), own);
  } catch {
    return Number.NaN;
  }
}

/** User and system time of the process so far, in seconds. Linux only; else NaN. */
export function cpuSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return Number.NaN;
  }
}
