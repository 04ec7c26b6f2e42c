import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { Fault } from '#core/fault.ts';
import { temporaryFolder } from '#test/support/journal.ts';
import { lockDataDir } from './data-dir.ts';

const HOLDER = `
  import { lockDataDir } from ${JSON.stringify(new URL('./data-dir.ts', import.meta.url).href)};
  // Kept, or the lock ends with the object when it is collected.
  const lock = lockDataDir(process.argv[1]);
  console.log('locked');
  setInterval(() => lock, 1000);
`;

it('makes the directory, and refuses a second holder in the same process until the first lets go', () => {
  const dir = `${temporaryFolder()}/made/on/the/way`;
  const first = lockDataDir(dir);
  expect(() => lockDataDir(dir)).toThrow(Fault);
  first.release();
  first.release();
  lockDataDir(dir).release();
});

it('keeps the directory while another process lives, names that process, and is free the moment it is killed', async () => {
  const dir = temporaryFolder();
  const holder = spawn(process.execPath, ['--input-type=module', '--eval', HOLDER, dir]);
  await once(holder.stdout, 'data');
  let thrown: unknown;
  try {
    lockDataDir(dir);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ code: 'data_dir_locked' });
  expect(String(thrown)).toContain(`process ${holder.pid}`);

  holder.kill('SIGKILL');
  await once(holder, 'exit');
  lockDataDir(dir).release();
});
