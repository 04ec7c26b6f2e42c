import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './products.ts';

/** A server of a test's own: on a free port, with data in a temporary folder, ended with the process that started it. */
export interface TestServer {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now; another one after a restart. */
  readonly pid: number;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
  /** Ends it without warning and leaves its data. Resolves when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and data, after ending it when it runs. Resolves when it answers. */
  restart(): Promise<void>;
}

export interface Owner {
  uid: number;
  gid: number;
}

export interface LocalServer {
  name: string;
  url(port: number): string;
  /** The user that it must run as, where that is not ours. */
  owner?: Owner | undefined;
  /** Fills the data folder, once. */
  prepare?(folder: string): Promise<void>;
  command(folder: string, port: number): readonly [string, ...string[]];
  /** How it is ended when its data is no longer wanted. */
  stopSignal: NodeJS.Signals;
  /** True once it serves. */
  answers(url: string): Promise<boolean>;
}

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const POLL_MS = 20;
/** Below the range from which systems choose the ports of outgoing connections, so that a killed server's port stays free for it. */
const PORT_MIN = 15_000;
const PORT_MAX = 32_000;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a server from a command of this machine. */
export async function startLocal(server: LocalServer): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), `weir-${server.name}-`));
  try {
    if (server.owner) await chown(folder, server.owner.uid, server.owner.gid);
    await server.prepare?.(folder);
    let port = await freePort();
    let child = await launch(server, folder, port).catch(async (error: unknown) => {
      // Another process may have taken the port between our look and the server's start.
      if (!/in use/i.test(String(error))) throw error;
      port = await freePort();
      return launch(server, folder, port);
    });
    return {
      port,
      url: server.url(port),
      get pid() {
        return pidOf(child);
      },
      async stop() {
        await end(child, server.stopSignal);
        await rm(folder, { recursive: true, force: true });
      },
      kill: (signal = 'SIGKILL') => end(child, signal),
      async restart() {
        await end(child, 'SIGKILL');
        child = await launch(server, folder, port);
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function launch(server: LocalServer, folder: string, port: number): Promise<ChildProcess> {
  const url = server.url(port);
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const child = await spawnLogged(await withParentDeath(server.command(folder, port)), folder, server.owner);
    const outcome = await Promise.race([
      poll(() => server.answers(url), deadline).then((ready) => (ready ? 'ready' : 'late')),
      exited(child).then(() => 'exited'),
    ]);
    if (outcome === 'ready' && child.exitCode === null && child.signalCode === null) return child;
    await end(child, 'SIGKILL');
    const log = (await readFile(logPath(folder), 'utf8').catch(() => '')).slice(-1500);
    // After a SIGKILL the children of PostgreSQL hold its memory for a moment; it refuses to start until they are gone.
    if (outcome === 'exited' && /shared memory block/.test(log) && Date.now() < deadline) continue;
    throw new Error(`${server.name} did not start (${outcome}):\n${log}`);
  }
}

async function spawnLogged([command, ...args]: readonly [string, ...string[]], cwd: string, owner?: Owner) {
  const log = openSync(logPath(cwd), 'w');
  try {
    const child = spawn(command, args, { cwd, stdio: ['ignore', log, log], ...owner });
    running.add(child);
    child.once('exit', () => running.delete(child));
    await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    return child;
  } finally {
    closeSync(log);
  }
}

function logPath(folder: string): string {
  return join(folder, 'server.log');
}

let parentDeath: Promise<boolean> | undefined;

/** Where the system can do it, the kernel ends the server when this process dies, however it dies. */
async function withParentDeath(command: readonly [string, ...string[]]): Promise<readonly [string, ...string[]]> {
  parentDeath ??= run('setpriv', ['--pdeathsig', 'KILL', 'true']).then(
    () => true,
    () => false,
  );
  return (await parentDeath) ? ['setpriv', '--pdeathsig', 'KILL', ...command] : command;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const gone = exited(child);
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await gone;
  clearTimeout(timer);
}

function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the server has no process');
  return child.pid;
}

export interface ContainerServer {
  name: string;
  image: string;
  containerPort: number;
  /** Options of `docker run` before the image, and the command after it. */
  options: readonly string[];
  args: readonly string[];
  url(port: number): string;
  answers(url: string): Promise<boolean>;
}

/** Starts a server in a container. Its data is the container's own layer, which outlives a kill and ends with `stop`. */
export async function startContainer(server: ContainerServer): Promise<TestServer> {
  const port = await freePort();
  const url = server.url(port);
  const publish = `127.0.0.1:${port}:${server.containerPort}`;
  const { stdout } = await run(
    'docker',
    ['run', '--detach', '--publish', publish, ...server.options, server.image, ...server.args],
    { timeout: 300_000 },
  );
  const id = stdout.trim();
  let pid = 0;
  const ready = async () => {
    if (await poll(() => server.answers(url), Date.now() + START_TIMEOUT_MS)) {
      const state = await run('docker', ['inspect', '--format', '{{.State.Pid}}', id]);
      pid = Number(state.stdout);
      return;
    }
    const logs = await run('docker', ['logs', '--tail', '30', id]);
    throw new Error(`${server.name} did not start in its container:\n${logs.stdout}${logs.stderr}`);
  };
  const remove = async () => {
    await run('docker', ['rm', '--force', '--volumes', id]);
  };
  try {
    await ready();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    port,
    url,
    get pid() {
      return pid;
    },
    stop: remove,
    async kill(signal = 'SIGKILL') {
      await run('docker', ['kill', '--signal', signal, id]);
      await run('docker', ['wait', id]);
    },
    async restart() {
      await run('docker', ['restart', '-t', '0', id]);
      await ready();
    },
  };
}

/** A port of the loopback interface that nobody listens on. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    const free = await new Promise<boolean>((resolve) => {
      const probe = createServer();
      probe.once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

/** True as soon as the check is, false when it is not by the deadline (epoch ms). */
export async function poll(check: () => Promise<boolean>, deadlineMs: number): Promise<boolean> {
  while (Date.now() < deadlineMs) {
    if (await check()) return true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return false;
}
