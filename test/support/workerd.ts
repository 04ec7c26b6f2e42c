import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare, type V4WorkerOptions } from 'miniflare';

/** A worker of the project as one module, the way it is deployed. */
export async function bundleWorker(entry: URL): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(entry)],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['workerd', 'worker', 'import'],
    external: ['cloudflare:workers'],
    logLevel: 'silent',
  });
  const [file] = outputFiles;
  if (!file) throw new Error(`nothing came of ${entry.pathname}`);
  return file.text;
}

/** As it is deployed. */
const settings = readFileSync(new URL('../../wrangler.toml', import.meta.url), 'utf8');
const compatibilityDate = /^compatibility_date = "(.*)"$/m.exec(settings)?.[1] ?? '';
const compatibilityFlags: string[] = JSON.parse(/^compatibility_flags = (.*)$/m.exec(settings)?.[1] ?? '[]');

/** A real workerd that runs the worker, on a free port. */
export async function startWorkerd(
  entry: URL,
  options: Omit<V4WorkerOptions, 'script' | 'modules'>,
): Promise<Miniflare> {
  const script = await bundleWorker(entry);
  const workerd = new Miniflare(
    convertV4MiniflareOptions({ compatibilityDate, compatibilityFlags, ...options, modules: true, script }),
  );
  await workerd.ready;
  return workerd;
}
