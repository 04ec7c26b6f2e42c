import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const SKIPPED_FOLDERS = new Set(['node_modules', 'coverage', 'dist', 'data', 'peers']);

/** One source file, as the rules of the house see it. Paths are relative to the root, with forward slashes. */
export interface Source {
  path: string;
  /** First folder of the path, or '' at the root. */
  area: string;
  text: string;
  /** The text without its comments. */
  code: string;
  imports: readonly Import[];
}

export interface Import {
  /** As it is written. */
  name: string;
  /** The file that it names, or undefined for a package, a module of Node, and what lies outside the repository. */
  path: string | undefined;
  /** True for a file that is started or read by its address: workers, scripts, pages. */
  byAddress: boolean;
}

/** Every file below a folder of the repository. */
export function listFiles(folder = ''): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.name.startsWith('.') || SKIPPED_FOLDERS.has(entry.name)) return [];
    if (entry.isDirectory()) return listFiles(path);
    return entry.isFile() ? [path] : [];
  });
}

export function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

export function isTest(path: string): boolean {
  return path.endsWith('.test.ts') || path.startsWith('test/');
}

/** All TypeScript of the project, and the console's JavaScript. */
export function readSources(): Source[] {
  return listFiles()
    .filter((path) => /\.(ts|tsx|js|mjs)$/.test(path))
    .map((path) => {
      const text = read(path);
      const code = withoutComments(text);
      const area = path.includes('/') ? path.slice(0, path.indexOf('/')) : '';
      return { path, area, text, code, imports: importsOf(path, code) };
    });
}

/** Good enough for code that a formatter wrote: a `//` inside a string stays when a colon or a quote stands before it. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`\\/])\/\/.*$/gm, '$1');
}

const IMPORTS = [
  /^\s*(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]/gm,
  /^\s*import\s*['"]([^'"]+)['"]/gm,
  /\bimport\(\s*['"]([^'"]+)['"]/g,
];

const ADDRESSES = [
  /\bnew URL\(\s*['"]([^'"]+)['"]\s*,\s*import\.meta\.url/g,
  /\bimport\.meta\.resolve\(\s*['"]([^'"]+)['"]/g,
];

function importsOf(path: string, code: string): Import[] {
  const find = (patterns: readonly RegExp[], byAddress: boolean) =>
    patterns
      .flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] ?? ''))
      .map((name) => ({ name, path: resolveImport(path, byAddress ? `./${name}` : name), byAddress }));
  return [...find(IMPORTS, false), ...find(ADDRESSES, true)];
}

function resolveImport(from: string, name: string): string | undefined {
  if (name.startsWith('#')) return name.slice(1);
  if (!name.startsWith('.')) return undefined;
  const path = normalize(join(dirname(from), name)).replaceAll('\\', '/');
  return path.startsWith('..') ? undefined : path;
}

/** The name of the npm package that an import names, or undefined for a file and for Node's own modules. */
export function packageOf({ name, byAddress }: Import): string | undefined {
  if (
    byAddress ||
    /^[#.]/.test(name) ||
    name.startsWith('node:') ||
    name.startsWith('cloudflare:') ||
    /^https?:/.test(name)
  )
    return undefined;
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');
}

/** The lines of a file's code where a pattern stands, as `path:line: text`. */
export function hits(source: Source, pattern: RegExp): string[] {
  return source.text
    .split('\n')
    .map((line, i) => ({ line, at: i + 1 }))
    .filter(({ line }) => pattern.test(withoutComments(line)) && !/^\s*(\*|\/\*|\/\/)/.test(line))
    .map(({ line, at }) => `${source.path}:${at}: ${line.trim()}`);
}
