import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** Where what was just allocated lives, both halves of it. V8 lets it grow to 128 MB, doubling it in bursts of work. */
const ALWAYS_BYTES = 16 * 2 ** 20;
const EVERY_MS = 500;
/** Of one processor. */
const BUSY_SHARE = 0.5;
/** A start is a burst of its own, of a second: it is looked at more often, and is no reason to grow. */
const START_MS = 3_000;
const START_EVERY_MS = 20;

/**
 * Lets the young generation grow beyond what little work needs only while there is much. Otherwise the start, and a thousand
 * streams that open at once, make V8 double it several times over for nothing: what survives there lives long.
 * docs/decisions/0031.
 */
export function holdYoungGeneration(): void {
  let mayGrow = true;
  const allow = (may: boolean): void => {
    if (may !== mayGrow) setFlagsFromString(`--semi-space-growth-factor=${may ? 2 : 1}`);
    mayGrow = may;
  };
  let used = process.cpuUsage();
  let wasBusy = false;
  const look = (): void => {
    const isStart = performance.now() < START_MS;
    const since = process.cpuUsage(used);
    used = process.cpuUsage();
    const isBusy = !isStart && since.user + since.system > BUSY_SHARE * EVERY_MS * 1_000;
    // Twice on end: a burst is over by then.
    allow((isBusy && wasBusy) || youngBytes() < ALWAYS_BYTES);
    wasBusy = isBusy;
    setTimeout(look, isStart ? START_EVERY_MS : EVERY_MS).unref();
  };
  look();
}

function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0;
}
