import type { z } from 'zod';
import { Fault } from '#core/fault.ts';
import { FILE_BOUNDS } from './bounds.ts';
import { compileConfig } from './compile.ts';
import type { Config } from './config.ts';
import type { EnvironmentVariables } from './environment.ts';
import { findWrongReferences } from './references.ts';
import { configSchema } from './schema.ts';
import { formatPath, type Path, type Problem, readYaml, type YamlFile } from './yaml.ts';

export type ParseResult = { config: Config } | { problems: readonly Problem[] };

/** Text of a configuration file to the configuration, or to every mistake in it at once, in the order of the file. */
export async function parseConfig(text: string, options: { env: EnvironmentVariables }): Promise<ParseResult> {
  const file = readYaml(text, options.env);
  if (file.value === undefined) return { problems: inOrder(file.problems) };
  const parsed = configSchema.safeParse(file.value);
  // A variable that is missing is said once: what became of the value without it says nothing new.
  const said = new Set(file.problems.map((problem) => problem.path));
  const problems = [
    ...(parsed.error?.issues ?? []).flatMap((issue) => problemsOf(issue, [], file)),
    ...(await findWrongReferences(file)).map(({ path, text: sentence }) => problem(path, 'value', sentence, file)),
  ].filter(({ path }) => !said.has(path));
  if (parsed.success && problems.length + file.problems.length === 0) {
    return { config: await compileConfig(parsed.data, options.env) };
  }
  return { problems: inOrder([...file.problems, ...problems]) };
}

/** As `parseConfig`, with the mistakes as a Fault: for who can do nothing but stop. */
export async function getConfig(text: string, options: { env: EnvironmentVariables; file: string }): Promise<Config> {
  const result = await parseConfig(text, options);
  if ('config' in result) return result.config;
  throw configFault(result.problems, options.file);
}

export function configFault(problems: readonly Problem[], file: string): Fault {
  return new Fault('config_invalid', { detail: problems.map((one) => `\n  ${formatProblem(one, file)}`).join('') });
}

/** `weir.yaml:12:5 customers.acme.plan: no plan is named "grow"; did you mean "growth"?` */
export function formatProblem({ line, column, path, text }: Problem, file: string): string {
  return `${file}:${line}:${column} ${path === '' ? text : `${path}: ${text}`}`;
}

function inOrder(problems: readonly Problem[]): readonly Problem[] {
  const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
  const more = sorted.length - FILE_BOUNDS.problemsMax;
  const last = sorted[FILE_BOUNDS.problemsMax];
  return more <= 0 || !last
    ? sorted
    : [
        ...sorted.slice(0, FILE_BOUNDS.problemsMax),
        { ...last, path: '', text: `And ${more} more problems from here on.` },
      ];
}

function problem(path: Path, part: 'key' | 'value', text: string, file: YamlFile): Problem {
  return { ...file.place(path, part), path: formatPath(path), text };
}

function problemsOf(issue: z.core.$ZodIssue, base: Path, file: YamlFile): Problem[] {
  const path: Path = [...base, ...issue.path.filter((part) => typeof part !== 'symbol')];
  switch (issue.code) {
    case 'unrecognized_keys': {
      // One sentence for each field, as fields.ts writes them.
      const sentences = issue.message.split('\n');
      return issue.keys.map((key, i) => problem([...path, key], 'key', sentences[i] ?? issue.message, file));
    }
    case 'invalid_key':
      return issue.issues.map((inner) => problem(path, 'key', inner.message, file));
    case 'invalid_union': {
      const [first] = [...issue.errors].sort((a, b) => misfit(a) - misfit(b));
      // Of a kind that none of them has.
      if (!first) return [problem(path, 'value', issue.message, file)];
      return first.flatMap((inner) => problemsOf(inner, path, file));
    }
    default:
      return isAbsent(file.value, path)
        ? [problem(path, 'key', `is missing; it ${issue.message}`, file)]
        : [problem(path, 'value', issue.message, file)];
  }
}

/** How far a value is from a member of a union: 1 when it is of another kind altogether, 0 when it is only wrong inside. */
function misfit(issues: readonly z.core.$ZodIssue[]): number {
  return issues.some((issue) => issue.code === 'invalid_type' && issue.path.length === 0) ? 1 : 0;
}

function isAbsent(root: unknown, path: Path): boolean {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return true;
    value = (value as Record<string | number, unknown>)[part];
  }
  return false;
}
