import { parseBytes } from './bytes.ts';
import type { Paths } from './json-path-tree.ts';
import { typedErrorEvent } from './openai-dialect.ts';
import { parseUsage } from './openai-usage.ts';
import type { AnswerReader, Seen } from './paths-meter.ts';
import type { Reading, Usage } from './wire.ts';

/** The first paths of every answer of OpenAI's media; those of their own stand behind them. */
export const MEDIA_PATHS = ['usage', 'error', 'type'] as const;
const [USAGE, ERROR, TYPE] = [0, 1, 2];

/** What answers with images, speech and transcripts have in common: a usage, errors, and events that say their type. */
export abstract class MediaReader implements AnswerReader {
  abstract readonly paths: Paths;
  readonly breakOff = typedErrorEvent;
  protected usage: Usage | undefined;
  protected failed = false;

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    const value = parseBytes(bytes, start, end);
    if (value === null || value === undefined) return;
    if (kept === USAGE) this.usage = this.usageOf(parseUsage(value)) ?? this.usage;
    else if (kept === ERROR || (kept === TYPE && value === 'error')) this.failed = true;
    else this.keepOwn(kept === TYPE ? 'type' : 'own', value);
  }

  /** In the units of this medium. */
  protected usageOf(usage: Usage | undefined): Usage | undefined {
    return usage;
  }

  /** An event's type, or what stands at a path of its own. */
  protected abstract keepOwn(at: 'type' | 'own', value: unknown): void;
  abstract read(seen: Seen): Reading;
}
