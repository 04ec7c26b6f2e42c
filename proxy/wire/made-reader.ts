import { parseBytes } from './bytes.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseName } from './json-request.ts';
import type { AnswerReader, Seen } from './paths-meter.ts';
import type { Reading } from './wire.ts';

/** How an API says of what it keeps that nothing of it changes any more. */
export interface MadeWords {
  /** The member that holds its id, and what stands before it there. */
  readonly id: string;
  readonly before?: string;
  /** The member that holds its state. */
  readonly state: string;
  readonly over: ReadonlySet<unknown>;
  /** Members that name files which it has written. */
  readonly files: readonly string[];
  /** The member that counts what was served. */
  readonly answers?: string;
}

/** Reads what an answer says of something that the provider keeps: its id, and whether it is over. Usage is none of its business. */
export class MadeReader implements AnswerReader {
  readonly paths;
  readonly #words: MadeWords;
  readonly #files: string[] = [];
  #id: string | null = null;
  #over = false;
  #answers: number | undefined;

  constructor(words: MadeWords) {
    this.#words = words;
    this.paths = pathsOf([
      words.id,
      words.state,
      ...words.files,
      ...(words.answers === undefined ? [] : [words.answers]),
    ]);
  }

  keep(kept: number, bytes: Uint8Array, start: number, end: number): void {
    const value = parseBytes(bytes, start, end);
    if (kept === 0) this.#id = parseName(value)?.slice(this.#words.before?.length ?? 0) ?? null;
    else if (kept === 1) this.#over = this.#words.over.has(value);
    else if (kept === 2 + this.#words.files.length) this.#answers = typeof value === 'number' ? value : undefined;
    else {
      const file = parseName(value);
      if (file !== null) this.#files.push(file);
    }
  }

  read({ whole }: Seen): Reading {
    const files = this.#files;
    return {
      usage: null,
      complete: whole,
      failed: false,
      model: null,
      serviceTier: null,
      made:
        this.#id === null
          ? null
          : { id: this.#id, over: this.#over, answers: this.#answers, ...(files.length > 0 && { files }) },
      outputTokensGuess: 0n,
    };
  }

  breakOff(): undefined {
    return undefined;
  }
}
