import type { PartUsed } from '#core/call-cost.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import { concat, decodeUtf8, EMPTY, encodeUtf8, isObject, parseJson } from '../wire/bytes.ts';
import type { Meter, Reading } from '../wire/wire.ts';

/** One result of a batch: an answer, as a caller would have got it by itself; or null for a request that came to nothing. */
export interface Result {
  readonly id: string;
  readonly answer: unknown;
}

const NEWLINE = 0x0a;

/**
 * Reads the results of a batch, an answer a line, each by the meter of its own wire. `parts` are the answers one by one:
 * a price may hang on how long a single request is.
 */
export class ResultsMeter implements Meter {
  readonly edits = false;
  readonly #resultOf: (line: Readonly<Record<string, unknown>>) => Result | undefined;
  readonly #meterOf: () => Meter;
  readonly #parts: PartUsed[] = [];
  readonly #seen = new Set<string>();
  readonly #total: Partial<Record<Unit, bigint>> = {};
  readonly #line: Uint8Array[] = [];
  #model: string | null = null;
  #region: string | null = null;

  constructor(resultOf: (line: Readonly<Record<string, unknown>>) => Result | undefined, meterOf: () => Meter) {
    this.#resultOf = resultOf;
    this.#meterOf = meterOf;
  }

  /** Not one request was named, served or not. */
  isEmpty = true;

  push(chunk: Uint8Array): Uint8Array {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      this.#line.push(chunk.subarray(start, end));
      this.#endLine();
      start = end + 1;
    }
    // A copy: the chunk is only lent.
    if (start < chunk.length) this.#line.push(chunk.slice(start));
    return chunk;
  }

  end(): Uint8Array {
    this.#endLine();
    return EMPTY;
  }

  #endLine(): void {
    if (this.#line.length === 0) return;
    const text = decodeUtf8(concat(this.#line));
    this.#line.length = 0;
    const value = parseJson(text)?.value;
    const result = isObject(value) ? this.#resultOf(value) : undefined;
    if (result) this.isEmpty = false;
    if (!result || result.answer === null || this.#seen.has(result.id)) return;
    this.#seen.add(result.id);
    const meter = this.#meterOf();
    meter.push(encodeUtf8(JSON.stringify(result.answer)));
    meter.end();
    const { usage, model, region } = meter.read();
    if (!usage) return;
    this.#model ??= model;
    this.#region ??= region ?? null;
    for (const part of usage.parts ?? [{ model: null, counts: usage.counts }]) {
      this.#parts.push({ model: part.model ?? model, counts: part.counts });
    }
    this.#add(usage.counts);
  }

  #add(counts: Counts): void {
    for (const unit in counts) {
      this.#total[unit as Unit] = (this.#total[unit as Unit] ?? 0n) + (counts[unit as Unit] ?? 0n);
    }
  }

  read(): Reading {
    const none = this.#parts.length === 0;
    return {
      usage: none ? null : { counts: this.#total, raw: null, parts: this.#parts },
      complete: true,
      failed: false,
      undone: none,
      model: this.#model,
      serviceTier: 'batch',
      region: this.#region,
      outputTokensGuess: 0n,
    };
  }

  breakOff(): undefined {
    return undefined;
  }
}
