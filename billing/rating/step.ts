import type { Exact } from '#core/exact.ts';

/** One step of how an amount came about: what `explain` prints. The amounts of a line's steps add up to the line. */
export interface Step {
  readonly formula: string;
  readonly quantity: Exact;
  /** Exact nanos. */
  readonly amount: Exact;
}
