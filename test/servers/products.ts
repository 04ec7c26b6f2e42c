import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, readdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

export const run = promisify(execFile);

/** A server that tests need, and where it may come from. */
export interface Product {
  name: string;
  /** The variable that names a server which runs already. */
  variable: string;
  /** Commands that must stand in one folder. */
  commands: readonly string[];
  /** Where distributions keep them when they are not on the PATH; a `*` stands for one folder name, the newest first. */
  folders: readonly string[];
  aptPackage: string;
  dockerImage: string;
}

export type Source = { kind: 'folder'; folder: string } | { kind: 'docker'; image: string };

/** Finds the product on this machine, or installs it, or finds a Docker engine for it. Undefined when nothing of that works. */
export async function findSource(product: Product): Promise<Source | undefined> {
  const folder =
    (await findFolder(product)) ?? ((await installWithApt(product)) ? await findFolder(product) : undefined);
  if (folder !== undefined) return { kind: 'folder', folder };
  return (await dockerAnswers()) ? { kind: 'docker', image: product.dockerImage } : undefined;
}

/** As `findSource`, for a test that cannot go on without. */
export async function getSource(product: Product): Promise<Source> {
  const source = await findSource(product);
  if (!source) throw new Error(missing([product]));
  return source;
}

/** One sentence that names what is missing. */
export function missing(products: readonly Product[]): string {
  const wanted = products.map(
    ({ name, variable, commands }) => `${name} (set ${variable}, or put ${commands.join(' and ')} on the PATH)`,
  );
  return `The tests need ${wanted.join(' and ')}, and neither apt-get nor a Docker engine could bring them.`;
}

/** The folder in which all commands of the product stand on this machine. */
export async function findFolder(product: Product): Promise<string | undefined> {
  const onPath = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const usual = await Promise.all(product.folders.map(expandFolder));
  for (const folder of [...onPath, ...usual.flat()]) {
    const found = await Promise.all(product.commands.map((command) => isExecutable(join(folder, command))));
    if (found.every(Boolean)) return folder;
  }
  return undefined;
}

async function expandFolder(pattern: string): Promise<string[]> {
  const [before = '', after] = pattern.split('*');
  if (after === undefined) return [pattern];
  const slash = before.lastIndexOf('/') + 1;
  const start = before.slice(slash);
  const names = await readdir(before.slice(0, slash)).catch(() => []);
  return names
    .filter((name) => name.startsWith(start))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((name) => `${before.slice(0, slash)}${name}${after}`);
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function installWithApt(product: Product): Promise<boolean> {
  if (process.getuid?.() !== 0 || !(await isExecutable('/usr/bin/apt-get'))) return false;
  console.log(`Installing ${product.name} with apt-get for the tests.`);
  // RUNLEVEL=1 keeps packages from starting their own service.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const options = ['-q', '-y', '-o', 'DPkg::Lock::Timeout=120'];
  try {
    await run('/usr/bin/apt-get', [...options, 'update'], { env, timeout: 180_000, maxBuffer: 2 ** 26 });
    const install = [...options, 'install', '--no-install-recommends', product.aptPackage];
    await run('/usr/bin/apt-get', install, { env, timeout: 300_000, maxBuffer: 2 ** 26 });
    return true;
  } catch (error) {
    console.error(`apt-get could not install ${product.aptPackage}: ${String(error).slice(0, 2000)}`);
    return false;
  }
}

function dockerAnswers(): Promise<boolean> {
  return run('docker', ['info'], { timeout: 20_000 }).then(
    () => true,
    () => false,
  );
}
