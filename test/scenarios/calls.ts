import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { UsageEvent } from '#core/usage-event.ts';
import type { ChildOptions } from './calls.child.ts';

const CHILD = fileURLToPath(new URL('./calls.child.ts', import.meta.url));

/**
 * What processes said of each call, before and after each step, in a file that they append to: a pipe would lose what
 * is still in the process when it is killed.
 */
export class Witness {
  readonly path: string;
  readonly #said = new Map<string, { step: string; outputTokens: string }>();
  #readTo = 0;

  constructor(path: string) {
    this.path = path;
    writeFileSync(path, '');
  }

  /** Hears what has been said since. Each line is written at once, so that none is ever half there. */
  #hear(): void {
    const text = readFileSync(this.path);
    for (const line of text.subarray(this.#readTo).toString().split('\n')) {
      const [step = '', id, outputTokens] = line.split(' ');
      if (id === undefined) continue;
      this.#said.set(id, { step, outputTokens: outputTokens ?? this.#said.get(id)?.outputTokens ?? '' });
    }
    this.#readTo = text.length;
  }

  countOf(step: string): number {
    this.#hear();
    return [...this.#said.values()].filter((said) => said.step === step).length;
  }

  /** True when the process said that the call was opened. */
  opened(id: string): boolean {
    this.#hear();
    const step = this.#said.get(id)?.step;
    return step !== undefined && step !== 'opening' && step !== 'refused';
  }

  /** What is wrong with these events: a sentence for each call that has not what was promised. */
  faultsOf(events: readonly UsageEvent[]): string[] {
    this.#hear();
    const faults: string[] = [];
    const byId = new Map<string, UsageEvent>();
    for (const event of events) {
      if (byId.has(event.id)) faults.push(`${event.id} has two events`);
      byId.set(event.id, event);
      if (!this.#said.has(event.id)) faults.push(`${event.id} was never opened`);
    }
    for (const [id, { step, outputTokens }] of this.#said) {
      const event = byId.get(id);
      const figure =
        event && (event.data.usage_status === 'estimated' ? 'estimate' : event.data.quantities.output_tokens);
      const wanted = allowedAfter(step, outputTokens);
      if (!wanted.includes(figure)) faults.push(`${id} was ${step} ${outputTokens}: its event says ${figure}`);
    }
    return faults;
  }
}

/** The process may have died between a step and saying so: then both are right. */
function allowedAfter(step: string, outputTokens: string): (string | undefined)[] {
  switch (step) {
    case 'opening':
      return ['estimate', undefined];
    case 'opened':
      return ['estimate'];
    case 'closing':
      return ['estimate', outputTokens];
    case 'closed':
      return [outputTokens];
    case 'abandoning':
      return ['estimate', undefined];
    default:
      return [undefined];
  }
}

export interface RunningChild {
  readonly process: ChildProcessByStdio<null, Readable, null>;
  /** Resolves when it has recovered. */
  readonly ready: Promise<void>;
  /** Resolves when it is gone. */
  readonly gone: Promise<{ code: number | null; lastLine: string }>;
}

export function startChild(options: Omit<ChildOptions, 'witness'>, { path }: Witness): RunningChild {
  const all: ChildOptions = { ...options, witness: path };
  const child = spawn(process.execPath, [CHILD, JSON.stringify(all)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ready = Promise.withResolvers<void>();
  let lastLine = '';
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    lastLine = line;
    if (line === 'ready') ready.resolve();
  });
  const gone = Promise.all([once(child, 'exit'), once(lines, 'close')]).then(([[code]]) => ({ code, lastLine }));
  return { process: child, ready: ready.promise, gone };
}
