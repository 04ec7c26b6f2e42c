import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newTokenSecret } from '#billing/tokens/token.ts';

export const DATA_DIR = 'data';

/** The token of the environment, else the one that the first start made; `made` when that is this start. */
export function adminTokenOf(dataDir: string, given: string | null): { token: string; made: boolean } {
  if (given !== null) return { token: given, made: false };
  const file = join(dataDir, 'admin-token');
  if (existsSync(file)) return { token: readFileSync(file, 'utf8').trim(), made: false };
  const token = newTokenSecret();
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return { token, made: true };
}
