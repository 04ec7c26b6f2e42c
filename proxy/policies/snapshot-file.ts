import { open, readFile, rename } from 'node:fs/promises';
import type { Snapshot } from './snapshot.ts';

/** A file that only its owner reads (hashes of secrets are in it), replaced as a whole or not at all. */
export function snapshotFile(path: string): Snapshot {
  return {
    read: async () => {
      try {
        return await readFile(path, 'utf8');
      } catch (thrown) {
        if (isMissing(thrown)) return undefined;
        throw thrown;
      }
    },
    write: async (text) => {
      const draft = `${path}.new`;
      const file = await open(draft, 'w', 0o600);
      try {
        await file.chmod(0o600);
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(draft, path);
    },
  };
}

function isMissing(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT';
}
