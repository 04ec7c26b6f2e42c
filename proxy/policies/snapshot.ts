import { faultOf } from '#core/fault.ts';
import type { Log } from '#core/log.ts';
import { parsePolicyChanges } from './parse.ts';
import type { PolicyTable } from './policy-table.ts';

/** Where the last known policies of billing are kept, so that a gateway that starts while billing is away knows its keys. */
export interface Snapshot {
  /** Undefined when there is none. */
  read(): Promise<string | undefined>;
  write(text: string): Promise<void>;
}

/** Fills the table from the snapshot. Gives the version that it stands for; undefined where it is missing or unreadable. */
export async function loadSnapshot(
  snapshot: Snapshot | undefined,
  table: PolicyTable,
  log: Log,
): Promise<string | undefined> {
  try {
    const text = await snapshot?.read();
    if (text === undefined) return undefined;
    const saved = parsePolicyChanges(JSON.parse(text));
    if (!saved) throw new TypeError('the snapshot of key policies has another form');
    table.replace('billing', saved.policies);
    if (saved.halts) table.replaceHalts(saved.halts);
    // A policy that an older Weir could not read is asked for again.
    return saved.ignored === 0 ? saved.version : undefined;
  } catch (thrown) {
    log.warn({ err: faultOf(thrown) }, 'the snapshot of key policies cannot be read; going on without it');
    return undefined;
  }
}

/** Failing to write is not failing to serve: it is said, and the next change tries again. */
export async function saveSnapshot(
  snapshot: Snapshot | undefined,
  table: PolicyTable,
  version: string,
  log: Log,
): Promise<void> {
  try {
    const saved = { version, reset: true, policies: table.list('billing'), removed: [], halts: table.halts() };
    await snapshot?.write(JSON.stringify(saved));
  } catch (thrown) {
    log.warn({ err: faultOf(thrown) }, 'the snapshot of key policies cannot be written');
  }
}
