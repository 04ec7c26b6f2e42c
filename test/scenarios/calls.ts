import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { UsageEvent } from '#core/usage-event.ts';
import type { ChildOptions } from './calls.child.ts';

const CHILD = fileURLToPath(new URL('./calls.child.ts', import.meta.url));

/** The last that a process said of each call, over all processes. */
export class Witness {
  readonly #said = new Map<string, { step: string; outputTokens: string }>();

  hear(line: string): void {
    const [step = '', id, outputTokens] = line.split(' ');
    if (id === undefined || !id.startsWith('req_')) return;
    this.#said.set(id, { step, outputTokens: outputTokens ?? this.#said.get(id)?.outputTokens ?? '' });
  }

  countOf(step: string): number {
    return [...this.#said.values()].filter((said) => said.step === step).length;
  }

  /** True when the process said that the call was opened. */
  opened(id: string): boolean {
    const step = this.#said.get(id)?.step;
    return step !== undefined && step !== 'opening' && step !== 'refused';
  }

  /** What is wrong with these events: a sentence for each call that has not what was promised. */
  faultsOf(events: readonly UsageEvent[]): string[] {
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
  /** Resolves when it is gone and all that it said has been heard. */
  readonly gone: Promise<{ code: number | null; lastLine: string }>;
}

export function startChild(options: ChildOptions, witness: Witness): RunningChild {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ready = Promise.withResolvers<void>();
  let lastLine = '';
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    lastLine = line;
    if (line === 'ready') ready.resolve();
    else witness.hear(line);
  });
  const gone = Promise.all([once(child, 'exit'), once(lines, 'close')]).then(([[code]]) => ({ code, lastLine }));
  return { process: child, ready: ready.promise, gone };
}
