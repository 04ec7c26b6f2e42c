import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { GatewaySettings } from '#config/config.ts';
import { type Log, SILENT } from '#core/log.ts';
import { type Journal, openJournal } from '#proxy/sink/journal/journal.ts';

export type JournalSettings = GatewaySettings['journal'];

export const JOURNAL_SETTINGS: JournalSettings = {
  fsync: 'never',
  fsyncIntervalMs: 20,
  bytesMax: 64 * 1024 * 1024,
  segmentBytesMax: 4 * 1024 * 1024,
};

/** A folder that is gone when the test is over. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'weir-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function openTestJournal(
  dir: string,
  settings: Partial<JournalSettings> = {},
  log: Log = SILENT,
): Promise<Journal> {
  return openJournal({ dir, settings: { ...JOURNAL_SETTINGS, ...settings }, now: Date.now, log });
}
