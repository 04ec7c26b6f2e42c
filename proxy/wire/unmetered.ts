import type { WireFamily } from '#config/wires.ts';
import { EMPTY } from './bytes.ts';
import type { Dialect } from './dialect.ts';
import { type Asked, type Meter, NOTHING_ASKED, type Wire, type WireFacts } from './wire.ts';

/** Calls without usage: those that the provider gives for nothing, and those that nobody can read. */

/** A call that can use no tokens. */
export function askedWithoutTokens(model: string, metering: 'free' | 'unmetered', user: string | null = null): Asked {
  return {
    ...NOTHING_ASKED,
    model,
    metering,
    user,
    usageAsked: false,
    inputs: 0n,
  };
}

/** The facts of what a provider gives for nothing. */
export const FREE_FACTS: WireFacts = {
  units: [],
  usage: 'none: the provider bills nothing for it',
  estimated: null,
  edited: null,
};

/** Looks at nothing: what comes is passed on. */
export const SILENT_METER: Meter = {
  edits: false,
  push: (chunk) => chunk,
  end: () => EMPTY,
  read: () => ({
    usage: null,
    complete: true,
    failed: false,
    model: null,
    serviceTier: null,
    outputTokensGuess: 0n,
  }),
  breakOff: () => undefined,
};

/** What an explicit upstream serves and no wire knows, where the operator lets it pass: counted, and marked as unpriced. */
export function passthroughWire(family: WireFamily, dialect: Dialect): Wire {
  return {
    name: 'passthrough',
    family,
    dialect,
    endpoints: [],
    operation: 'passthrough',
    facts: { units: [], usage: 'none: nobody can read it', estimated: null, edited: null },
    parse: () => askedWithoutTokens('', 'unmetered'),
    rewrite: (body) => body,
    meter: () => SILENT_METER,
  };
}
