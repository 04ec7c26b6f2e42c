import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { findFolder, findSource, missing, type Product } from './products.ts';

const FOLDERS = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/snap/bin', '/opt/google/chrome'];

function product(command: string): Product {
  return {
    name: 'Chromium',
    variable: 'CHROMIUM_PATH',
    commands: [command],
    folders: FOLDERS,
    aptPackage: 'chromium',
    dockerImage: '',
  };
}

const CHROMIUM = product('chromium');

/** A real browser: CHROMIUM_PATH, else what this machine has, else what apt-get brings. The caller closes it. */
export async function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM_PATH ?? (await findChromium()),
    // Root in a container has no other way; nothing but our own pages is opened.
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
  });
}

async function findChromium(): Promise<string> {
  for (const command of ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']) {
    const folder = await findFolder(product(command));
    if (folder !== undefined) return join(folder, command);
  }
  const source = await findSource(CHROMIUM);
  if (source?.kind !== 'folder') throw new Error(missing([CHROMIUM]));
  return join(source.folder, 'chromium');
}
