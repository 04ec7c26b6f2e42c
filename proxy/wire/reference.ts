import { withTable } from '#config/reference.ts';
import type { Wire } from './wire.ts';
import { WIRES } from './wires.ts';

/** docs/wires.md with its table replaced: every wire, as the code has it. */
export function withWires(document: string): string {
  return withTable(document, 'wires', wiresTable(), 'proxy/wire/write-docs-file.ts');
}

function wiresTable(): string {
  const lines = [
    '| wire | asked for at | units, beside `calls` | its usage | estimated | edited |',
    '|---|---|---|---|---|---|',
  ];
  for (const name of new Set(WIRES.map((wire) => wire.name)))
    lines.push(rowOf(WIRES.filter((wire) => wire.name === name)));
  return `${lines.join('\n')}\n`;
}

/** Some wires are spoken by several families, at paths of each. */
function rowOf(wires: readonly Wire[]): string {
  const [first] = wires;
  if (!first) return '';
  const { facts } = first;
  const cells = [
    `\`${first.name}\`, ${wires.map(({ family }) => `\`${family}\``).join(', ')}`,
    endpointsOf(wires.flatMap(doorsOf)),
    facts.units.map((unit) => `\`${unit}\``).join(', '),
    facts.usage,
    facts.estimated ?? '',
    [...(facts.edited === null ? [] : [facts.edited]), ...editsOf(first)].join('; '),
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** How it is asked for, and where. */
interface Door {
  readonly method: string;
  readonly path: string;
}

function doorsOf({ endpoints, socket, sideband }: Wire): readonly Door[] {
  return socket && !sideband ? endpoints.map(({ path }) => ({ method: 'WebSocket', path })) : endpoints;
}

/** One path a line; paths that differ by their version only are one. */
function endpointsOf(endpoints: readonly Door[]): string {
  const versions = new Map<string, Set<string>>();
  for (const { method, path } of endpoints) {
    const [, version = '', rest = path] = /^\/(v\d[a-z\d]*)(\/.*)$/.exec(path) ?? [];
    const key = `${method} ${version === '' ? '' : '/*'}${rest}`;
    versions.set(key, (versions.get(key) ?? new Set()).add(version));
  }
  return [...versions]
    .map(([key, [first = '', ...others]]) => {
      const path = `\`${key.replace('/*', `/${first}`)}\``;
      return others.length === 0 ? path : `${path} (${others.map((other) => `\`${other}\``).join(', ')})`;
    })
    .join('<br>');
}

function editsOf({ lowersOutput, answerHeaders }: Wire): string[] {
  return [
    ...(lowersOutput ? ['the maximum of output, where a budget affords less'] : []),
    ...(answerHeaders ? ['headers of answers that lead around the gateway'] : []),
  ];
}
