import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { SILENT } from '#core/log.ts';
import type { StoredParts } from '#proxy/stored/keeping.ts';
import { sqliteStored } from '#proxy/stored/sqlite-node.ts';
import { temporaryFolder } from '#test/support/journal.ts';

export interface TestStored {
  readonly stored: StoredParts;
  /** Ids of calls that the journal has let go of. */
  readonly handedOver: string[];
}

/** A store in a folder of its own, as the parts of a gateway take it; `again`: after a restart. */
export function testStored(path = join(temporaryFolder(), 'stored.db'), again = false): TestStored {
  const opened = sqliteStored(path, SILENT);
  if (again) opened.resume();
  onTestFinished(() => opened.close());
  const handedOver: string[] = [];
  const stored = {
    objects: opened.objects,
    calls: opened.calls,
    handedOver: async (id: string) => void handedOver.push(id),
  };
  return { stored, handedOver };
}
