import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { temporaryFolder } from '#test/support/journal.ts';

const run = promisify(execFile);
const CHILD = fileURLToPath(new URL('./journal-disk.child.ts', import.meta.url));

it('refuses calls on a full disk, loses no closing, and serves again when there is room', async () => {
  const dir = temporaryFolder();
  const { stdout } = await run('sh', ['-c', await littleRoom(), dir, process.execPath, CHILD]);
  const { own, together, other } = JSON.parse(stdout);

  expect(own.code).toBe('journal_unavailable');
  expect(own.opened).toBeGreaterThan(100);
  expect(own.shipped).toBe(own.opened);

  // Where the file may not grow instead, there is room for all of them.
  expect([0, 60]).toContain(together.opened);
  expect(together.readable).toEqual([]);

  expect(other.code).toBe('journal_unavailable');
  expect(other.closedOnFullDisk).toBe(true);
  expect(other.found).toEqual(other.wanted);
  expect(other.stillOpen).toBe(0);
});

/**
 * A shell line that runs node (`$1`) with the program (`$2`) where the folder (`$0`) has little room: on a file system
 * of a few megabytes, in a mount namespace of its own, so that nothing is left of it (and in a user namespace where we
 * are not root); where that is not allowed, under the system's limit on the size of a file.
 */
async function littleRoom(): Promise<string> {
  const unshare = process.getuid?.() === 0 ? 'unshare -m' : 'unshare -Urm';
  const mount = 'mount -t tmpfs -o size=6m tmpfs';
  try {
    await run('sh', ['-c', `${unshare} ${mount} "$0"`, temporaryFolder()]);
    return `exec ${unshare} sh -c '${mount} "$0" && exec "$1" "$2" "$0" disk' "$0" "$1" "$2"`;
  } catch {
    return `ulimit -f 4096 && exec "$1" "$2" "$0" file`;
  }
}
