import { Fault } from '#core/fault.ts';
import type { Counts } from '#core/quantity.ts';
import type { Outcome, UsageEvent, UsageStatus } from '#core/usage-event.ts';
import type { TokensMax } from './cost.ts';
import { min } from './limits/counter.ts';
import type { UpstreamFailure } from './upstream/upstream.ts';
import { type Asked, NO_COUNTS, type Reading, type Usage } from './wire/wire.ts';

/**
 * Why the gateway itself ended a call. gone: the client left. deadline: the call took too long. shutdown: so did the drain.
 * revoked, paused, halted: the operator did, by its key, its customer or key, its model or upstream. spent: its limits had
 * no more for it. unchecked: nobody could say whether they had.
 */
export type Stop = 'gone' | 'deadline' | 'shutdown' | 'revoked' | 'paused' | 'halted' | 'spent' | 'unchecked';

/** How a call ended after it was opened. `reading` is what went by of the last answer. */
export type Ending =
  /** The upstream's answer came to its end, whatever it said. */
  | { kind: 'answered'; status: number; reading: Reading }
  /** It broke off after it had begun. */
  | { kind: 'broken'; status: number; reading: Reading; failure: UpstreamFailure }
  /** We stopped it; `sent`: an upstream had the request. */
  | { kind: 'stopped'; why: Stop; sent: boolean; reading: Reading | null; counted?: Counted | undefined }
  /** No upstream gave an answer that could be passed on. */
  | { kind: 'unanswered'; fault: Fault };

/** Tokens that were really counted, of an answer that we cut. */
export interface Counted {
  readonly inputTokens: bigint | undefined;
  readonly outputTokens: bigint;
}

export interface Measured {
  readonly outcome: Outcome;
  readonly status: UsageStatus;
  readonly counts: Counts;
  readonly raw: unknown;
  /** As the upstream reported it; null where the counts are ours. */
  readonly usage: Usage | null;
}

const NOTHING_SERVED: Measured = { outcome: 'failed', status: 'none', counts: {}, raw: null, usage: null };

/** What is billable, and how sure we are of it. The one place that decides. */
export function measure(ending: Ending, asked: Asked, max: TokensMax): Measured {
  if (asked.metering !== 'usage') return measureUnread(ending, asked);
  const measured = measureAnswer(ending, asked, max);
  if (asked.fixed === NO_COUNTS || measured.status === 'none' || isNothing(asked.fixed)) return measured;
  const parts = measured.usage?.parts;
  return {
    ...measured,
    counts: { ...measured.counts, ...asked.fixed },
    usage:
      measured.usage && parts
        ? { ...measured.usage, parts: [...parts, { model: null, counts: asked.fixed }] }
        : measured.usage,
  };
}

/** Of a call that was put down and read again, nothing is no more the same nothing. */
function isNothing(counts: Counts): boolean {
  for (const _ in counts) return false;
  return true;
}

/** A call without usage: what was served of a free one is nothing, of an unmetered one a call. */
function measureUnread(ending: Ending, asked: Asked): Measured {
  if (!('reading' in ending) || ending.reading === null) return NOTHING_SERVED;
  if ('status' in ending && ending.status >= 400) return NOTHING_SERVED;
  const outcome =
    ending.kind === 'answered' ? 'ok' : ending.kind === 'stopped' && ending.why === 'gone' ? 'gone' : 'cut';
  return { outcome, status: 'none', counts: unreadCounts(asked), raw: null, usage: null };
}

function unreadCounts({ metering }: Asked): Counts {
  return metering === 'unmetered' ? { calls: 1n } : NO_COUNTS;
}

function measureAnswer(ending: Ending, asked: Asked, max: TokensMax): Measured {
  switch (ending.kind) {
    case 'unanswered':
      return NOTHING_SERVED;
    case 'answered':
      if (ending.status >= 400) return reported('failed', 'final', ending.reading) ?? NOTHING_SERVED;
      if (ending.reading.undone) return reported('failed', 'final', ending.reading) ?? NOTHING_SERVED;
      if (!ending.reading.complete || ending.reading.failed) return ended('cut', ending.reading);
      return reported('ok', 'final', ending.reading) ?? guessed('ok', ending.reading);
    case 'broken':
      return ending.status >= 400 ? NOTHING_SERVED : ended('cut', ending.reading);
    case 'stopped':
      if (!ending.sent) return NOTHING_SERVED;
      if (ending.counted) return countedUp(ending.counted, ending.reading);
      if (ending.why !== 'gone') return ending.reading ? ended('cut', ending.reading) : NOTHING_SERVED;
      return (ending.reading && reported('gone', 'partial', ending.reading)) ?? guessed('gone', ending.reading);
  }

  /** An answer that is not whole: nothing is billed when nothing of it had come. */
  function ended(outcome: Outcome, reading: Reading): Measured {
    const known = reported(outcome, 'partial', reading);
    if (known) return known;
    return reading.outputTokensGuess > 0n || asked.answers === 0n ? guessed(outcome, reading) : NOTHING_SERVED;
  }

  function reported(outcome: Outcome, status: UsageStatus, { usage }: Reading): Measured | undefined {
    if (!usage) return undefined;
    const { counts, raw } = usage;
    if (!usage.estimated) return { outcome, status, counts, raw, usage };
    const output_tokens = min(counts.output_tokens ?? 0n, max.outputTokens);
    return { outcome, status: 'estimated', counts: { ...counts, output_tokens }, raw, usage };
  }

  /** What the client got, where we ended it before its upstream could say anything of it. */
  function countedUp({ inputTokens, outputTokens }: Counted, reading: Reading | null): Measured {
    const guess = guessOf(asked, outputTokens, max);
    const input = inputTokens === undefined ? guess : { ...guess, input_tokens: inputTokens };
    // Some say at the start of a stream what they have read.
    const said = reading?.usage?.counts;
    const counts = said ? { ...said, output_tokens: outputTokens } : input;
    return { outcome: 'cut', status: 'estimated', counts, raw: reading?.usage?.raw ?? null, usage: null };
  }

  function guessed(outcome: Outcome, reading: Reading | null): Measured {
    const counts = guessOf(asked, reading?.outputTokensGuess ?? 0n, max);
    return { outcome, status: 'estimated', counts, raw: null, usage: null };
  }
}

/** A guess is never above what was held: a guess of ours must not carry a budget past its limit. */
export function guessOf(asked: Asked, outputTokens: bigint, max: TokensMax): Counts {
  if (asked.metering !== 'usage') return unreadCounts(asked);
  return {
    ...asked.fixed,
    ...asked.estimate,
    calls: 1n,
    input_tokens: min(asked.inputTokensGuess, max.inputTokens),
    output_tokens: min(outputTokens, max.outputTokens),
  };
}

const FAILURES = {
  unreachable: 'upstream_unreachable',
  timeout: 'upstream_timeout',
  broken: 'upstream_broken',
  invalid: 'upstream_invalid',
  aborted: 'upstream_broken',
} as const;

export function faultOfFailure({ kind, cause }: UpstreamFailure): Fault {
  return new Fault(FAILURES[kind], { cause });
}

/** Why the client did not get a whole answer. */
export function faultOfEnding(ending: Exclude<Ending, { kind: 'answered' }>): Fault {
  if (ending.kind === 'unanswered') return ending.fault;
  if (ending.kind === 'broken') return faultOfFailure(ending.failure);
  return faultOfStop(ending.why);
}

const STOPS = {
  gone: 'upstream_timeout',
  deadline: 'upstream_timeout',
  shutdown: 'shutting_down',
  revoked: 'revoked_key',
  paused: 'customer_paused',
  halted: 'model_halted',
  spent: 'budget_exhausted',
  unchecked: 'limits_unavailable',
} as const satisfies Record<Stop, Fault['code']>;

export function faultOfStop(why: Stop): Fault {
  return new Fault(STOPS[why], { story: why });
}

/** A success that holds nothing billable: the upstream is not what the configuration takes it for. */
export function isUnmetered(ending: Ending, { data }: UsageEvent): boolean {
  return ending.kind === 'answered' && ending.status < 400 && data.usage_status === 'none';
}

export function unmetered(): Fault {
  return new Fault('upstream_invalid', { story: 'It answered a success that holds nothing to meter.' });
}
