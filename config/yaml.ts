import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml';
import { FILE_BOUNDS } from './bounds.ts';
import type { EnvironmentVariables } from './environment.ts';

/**
 * Reads YAML into plain values with the place of each. Numbers stay the text that was written; `${NAME}` in values is
 * replaced from the environment after parsing, so that no value of a variable can change the structure of the file.
 */
export type Path = readonly (string | number)[];

/** A mistake in the file, as it is shown: where, at which field, what. */
export interface Problem {
  readonly line: number;
  readonly column: number;
  /** `customers.acme.limits[0].per`; empty for the file as a whole. */
  readonly path: string;
  readonly text: string;
}

export interface YamlFile {
  readonly value: unknown;
  readonly problems: readonly Problem[];
  /** Where the value at a path stands, or its nearest parent; with `key`, where the name of the field stands. */
  place(path: Path, part: 'key' | 'value'): { line: number; column: number };
  /** True when the value is a variable's and nothing else: what is secret then is not in the file. */
  isFromEnvironment(path: Path): boolean;
}

// `{ key: ${NAME} }` is no YAML, since braces end a plain value inside a flow map. Before parsing, the marks become
// characters of the private use area, one for one so that every place stays right, and are found again after.
const OPEN = '\uE000\uE001';
const CLOSE = '\uE002';
// `$${` is a `${` that stays.
const IN_SOURCE = /(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*(?::-[^}\n]*)?)\}/g;
const IN_VALUE = /\$\$\{|\uE000\uE001([A-Za-z_][A-Za-z0-9_]*)(?::-([^\uE002]*))?\uE002/g;
const ALL_OF_VALUE = /^\uE000\uE001[A-Za-z_][A-Za-z0-9_]*\uE002$/;

export function readYaml(text: string, env: EnvironmentVariables): YamlFile {
  const problems: Problem[] = [];
  const lines = new LineCounter();
  const keyOffsets = new Map<string, number>();
  const valueOffsets = new Map<string, number>();
  const fromEnvironment = new Set<string>();
  let nodes = 0;

  function at(offset: number): { line: number; column: number } {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  function report(offset: number, path: Path, sentence: string): void {
    problems.push({ ...at(offset), path: formatPath(path), text: sentence });
  }

  if (text.length > FILE_BOUNDS.textLengthMax) {
    report(0, [], `The file has more than ${FILE_BOUNDS.textLengthMax} characters.`);
    return { value: undefined, problems, place: () => at(0), isFromEnvironment: () => false };
  }
  const document = parseDocument(text.replace(IN_SOURCE, `${OPEN}$1${CLOSE}`), {
    version: '1.2',
    lineCounter: lines,
    prettyErrors: false,
  });
  for (const error of document.errors) report(error.pos[0], [], sentenceOf(restoreMarks(error.message)));

  function expand(text: string, path: Path, offset: number): string {
    if (ALL_OF_VALUE.test(text)) fromEnvironment.add(pathKey(path));
    return text.replace(IN_VALUE, (_, name: string | undefined, otherwise: string | undefined) => {
      if (name === undefined) return '${';
      const value = env[name];
      if (value !== undefined && (value !== '' || otherwise === undefined)) return value;
      if (otherwise !== undefined) return otherwise;
      report(offset, path, `The environment has no variable ${name}.`);
      return '';
    });
  }

  function read(node: Node | null, path: Path, depth: number): unknown {
    if (node === null) return null;
    const offset = node.range?.[0] ?? 0;
    if (!valueOffsets.has(pathKey(path))) valueOffsets.set(pathKey(path), offset);
    if (++nodes > FILE_BOUNDS.nodesMax || depth > FILE_BOUNDS.depthMax) {
      if (nodes <= FILE_BOUNDS.nodesMax + 1) report(offset, path, 'The file is nested too deeply, or too large.');
      nodes = FILE_BOUNDS.nodesMax + 1;
      return null;
    }
    if (isAlias(node)) return read(node.resolve(document) ?? null, path, depth + 1);
    if (isSeq<Node>(node)) return node.items.map((item, i) => read(item, [...path, i], depth + 1));
    if (isMap<Node, Node | null>(node)) {
      return Object.fromEntries(node.items.flatMap((pair) => readPair(pair, path, depth)));
    }
    if (!isScalar(node)) return null;
    if (typeof node.value === 'number' || typeof node.value === 'bigint') return node.source ?? String(node.value);
    return typeof node.value === 'string' ? expand(node.value, path, offset) : node.value;
  }

  function readPair(pair: Pair<Node, Node | null>, path: Path, depth: number): [string, unknown][] {
    const offset = pair.key.range?.[0] ?? 0;
    const key = isScalar(pair.key) ? (pair.key.source ?? String(pair.key.value)) : undefined;
    if (key === undefined || key.includes(OPEN) || key === '__proto__') {
      report(offset, path, 'The name of a field must be plain text.');
      return [];
    }
    const own = [...path, key];
    keyOffsets.set(pathKey(own), offset);
    // An empty field is as good as none: whoever comments out all of its contents means that.
    const value = read(pair.value, own, depth + 1);
    return value === null ? [] : [[key, value]];
  }

  const value = document.errors.length > 0 ? undefined : (read(document.contents, [], 0) ?? {});
  return {
    value,
    problems,
    place(path, part) {
      for (let length = path.length; length > 0; length--) {
        const key = pathKey(path.slice(0, length));
        const offset = part === 'value' && length === path.length ? valueOffsets.get(key) : keyOffsets.get(key);
        const found = offset ?? valueOffsets.get(key);
        if (found !== undefined) return at(found);
      }
      return at(0);
    },
    isFromEnvironment: (path) => fromEnvironment.has(pathKey(path)),
  };
}

export function formatPath(path: Path): string {
  return path.map((part, i) => (typeof part === 'number' ? `[${part}]` : i === 0 ? part : `.${part}`)).join('');
}

function pathKey(path: Path): string {
  return path.join('\u0000');
}

function restoreMarks(text: string): string {
  return text.replaceAll(OPEN, '${').replaceAll(CLOSE, '}');
}

function sentenceOf(message: string): string {
  const text = message.trim().replace(/\s+/g, ' ');
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
