import type { Config } from '#config/config.ts';
import { formatProblem, getConfig, parseConfig } from '#config/load.ts';

/** The configuration of a file without mistakes. */
export async function good(text: string, env: Record<string, string> = {}): Promise<Config> {
  return await getConfig(text, { env, file: 'weir.yaml' });
}

/** Its mistakes, as they are said of a file `w`. */
export async function problems(text: string, env: Record<string, string> = {}): Promise<string[]> {
  const result = await parseConfig(text, { env });
  return 'problems' in result ? result.problems.map((problem) => formatProblem(problem, 'w')) : [];
}

/** Lines without the indentation of the file that they stand in. */
export function yaml(strings: TemplateStringsArray, ...values: unknown[]): string {
  const text = String.raw(strings, ...values).replace(/^\n/, '');
  const indent = /^ */.exec(text)?.[0].length ?? 0;
  return text
    .split('\n')
    .map((line) => line.slice(indent))
    .join('\n');
}
