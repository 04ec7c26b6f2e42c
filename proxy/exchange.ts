import type { HeaderMap, Reply } from './inbound/call.ts';
import type { Roll, RollEnd } from './reserving/roll.ts';
import type { Sending, UpstreamFailure, UpstreamHandler } from './upstream/upstream.ts';
import { concat, EMPTY } from './wire/bytes.ts';
import { EVENT_BYTES_MAX } from './wire/sse.ts';
import type { Meter, Reading, Shown } from './wire/wire.ts';

/** How one attempt ended. `discarded`: its answer was not for the client. */
export type ExchangeEnd =
  | { kind: 'answered'; status: number; reading: Reading }
  | { kind: 'broken'; status: number; reading: Reading; failure: UpstreamFailure }
  | { kind: 'discarded'; status: number }
  | { kind: 'failed'; failure: UpstreamFailure };

/** Reads the head and says what becomes of the body: it passes through this meter, or goes nowhere. */
export type HeadReader = (status: number, headers: HeaderMap) => Meter | undefined;

/** How a stream that holds a part of what it may answer is watched. */
export interface Rolling {
  readonly roll: Roll;
  readonly shown: Shown;
  /** There is no more to be held for it: ends the call. */
  over(why: RollEnd): void;
}

/** A refused attempt's body is read to its end, so that its connection can be used again; a long one is not worth it. */
const DISCARDED_BYTES_MAX = 64 * 1024;

/**
 * One attempt at one upstream: its bytes go to the client first and by the meter second, no faster than the client
 * reads. Ends exactly once, in `ended`, and whoever ends it first wins.
 */
export class Exchange implements UpstreamHandler {
  readonly ended: Promise<ExchangeEnd>;
  /** Until the sending is known, what was asked of it is kept here. */
  #sending: Sending | undefined;
  #stopped = false;
  #over = false;
  #status = 0;
  #meter: Meter | undefined;
  #discarded = 0;
  roll: Rolling | null = null;
  /** What came while room was made for what came before; null while nothing waits. */
  #waiting: Uint8Array[] | null = null;
  #endsAfterIt = false;
  /** Of an event that has begun and not ended, kept back while room is made: the client always stands between two. */
  #begun: Uint8Array = EMPTY;
  /** It does not, and the meter has read on: nothing can be said at its place. */
  #isInside = false;
  /** The client has not caught up. */
  #isBehind = false;
  readonly #reply: Reply;
  readonly #readHead: HeadReader;
  readonly #onFirstBytes: () => void;
  readonly #resolve: (end: ExchangeEnd) => void;

  constructor(reply: Reply, readHead: HeadReader, onFirstBytes: () => void) {
    const { promise, resolve } = Promise.withResolvers<ExchangeEnd>();
    this.ended = promise;
    this.#resolve = resolve;
    this.#reply = reply;
    this.#readHead = readHead;
    this.#onFirstBytes = onFirstBytes;
  }

  start(sending: Sending): void {
    this.#sending = sending;
    if (this.#stopped) sending.abort();
  }

  stop(): void {
    this.#stopped = true;
    this.#sending?.abort();
  }

  resume(): void {
    this.#isBehind = false;
    if (!this.#waiting) this.#sending?.resume();
  }

  get reading(): Reading | null {
    return this.#meter?.read() ?? null;
  }

  breakOff(message: string, code: string): Uint8Array | undefined {
    return this.#isInside ? undefined : this.#meter?.breakOff(message, code);
  }

  head(status: number, headers: HeaderMap): void {
    this.#status = status;
    this.#meter = this.#readHead(status, headers);
    // The next attempt need not wait for the rest of this one.
    if (!this.#meter) this.#end({ kind: 'discarded', status });
  }

  data(chunk: Uint8Array): void {
    const meter = this.#meter;
    if (!meter) {
      this.#discarded += chunk.length;
      if (this.#discarded > DISCARDED_BYTES_MAX) this.#sending?.abort();
      return;
    }
    this.#onFirstBytes();
    if (this.roll) this.#roll(chunk, meter, this.roll);
    else this.#pass(chunk, meter);
  }

  #pass(chunk: Uint8Array, meter: Meter): void {
    let keepsUp = true;
    if (meter.edits) {
      const bytes = meter.push(chunk);
      if (bytes.length > 0) keepsUp = this.#reply.write(bytes);
    } else {
      keepsUp = this.#reply.write(chunk);
      meter.push(chunk);
    }
    if (!keepsUp) this.#hold();
  }

  #hold(): void {
    this.#isBehind = true;
    this.#sending?.pause();
  }

  /** Nothing goes to the client before it is held. Mostly it is, and then this is one comparison. */
  #roll(chunk: Uint8Array, meter: Meter, rolling: Rolling): void {
    const { roll, shown } = rolling;
    if (this.#waiting) this.#waiting.push(chunk);
    else if (this.#begun.length === 0 && roll.fits(shown.tokensMax + chunk.length)) this.#pass(chunk, meter);
    else {
      this.#waiting = [chunk];
      void this.#creep(meter, rolling, this.#waiting);
    }
  }

  /** Event by event, each of which waits for its room. */
  async #creep(meter: Meter, rolling: Rolling, waiting: Uint8Array[]): Promise<void> {
    const { roll, shown } = rolling;
    for (let chunk = waiting.shift(); chunk; chunk = waiting.shift()) {
      const bytes = this.#begun.length > 0 ? concat([this.#begun, chunk]) : chunk;
      let start = 0;
      for (const end of shown.endsOf(bytes)) {
        if (!(await this.#step(bytes.subarray(start, end), meter, rolling))) return;
        start = end;
      }
      this.#begun = bytes.subarray(start);
      const rest = this.#begun;
      const isLast = (this.#endsAfterIt && waiting.length === 0) || rest.length > EVENT_BYTES_MAX;
      // It waits for its end, unless that will not come, or it has room already.
      if (rest.length === 0 || !(isLast || roll.fits(shown.tokensMax + rest.length))) continue;
      this.#begun = EMPTY;
      if (!(await this.#step(rest, meter, rolling))) return;
    }
    this.#waiting = null;
    if (this.#endsAfterIt) this.end();
    else if (!this.#isBehind) this.#sending?.resume();
  }

  /** One event, once there is room for it. False when the call is over. */
  async #step(event: Uint8Array, meter: Meter, { roll, shown, over }: Rolling): Promise<boolean> {
    const isInside = meter.breakOff('', '') === undefined;
    roll.passed(shown);
    const bytes = meter.push(event);
    if (!roll.fits(shown.tokensMax)) {
      this.#sending?.pause();
      this.#isInside = isInside;
      const found = await roll.makeRoom(shown);
      if (this.#over) return false;
      if (!found) {
        over(roll.end);
        return false;
      }
    }
    this.#isInside = false;
    if (bytes.length > 0 && !this.#reply.write(bytes)) this.#hold();
    return true;
  }

  end(): void {
    const meter = this.#meter;
    if (!meter) return;
    if (this.#waiting) {
      this.#endsAfterIt = true;
      return;
    }
    if (this.#begun.length > 0 && this.roll) {
      // An event without its end: the last one of some servers.
      this.#endsAfterIt = true;
      this.#waiting = [EMPTY];
      void this.#creep(meter, this.roll, this.#waiting);
      return;
    }
    this.#reply.end(meter.end());
    this.#endRead(meter, (reading) => ({ kind: 'answered', status: this.#status, reading }));
  }

  failed(failure: UpstreamFailure): void {
    const meter = this.#meter;
    if (meter) this.#endRead(meter, (reading) => ({ kind: 'broken', status: this.#status, reading, failure }));
    else this.#end({ kind: 'failed', failure });
  }

  /** Most meters have read what they were given; one that has not is waited for. */
  #endRead(meter: Meter, endOf: (reading: Reading) => ExchangeEnd): void {
    const settling = meter.settle?.();
    if (settling) void settling.then(() => this.#end(endOf(meter.read())));
    else this.#end(endOf(meter.read()));
  }

  #end(end: ExchangeEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.roll?.roll.close();
    this.#resolve(end);
  }
}
