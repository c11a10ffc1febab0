import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { chromium, type BrowserContext, type BrowserContextOptions } from 'playwright-core';
import { describeUnless } from '../skip-aloud';

const EXECUTABLE = process.env['VOLLEY_CHROMIUM'] ?? '/usr/bin/chromium';
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function chromiumMissing(): string | undefined {
  return existsSync(EXECUTABLE) ? undefined : `${EXECUTABLE} is not installed (Debian package chromium)`;
}

/** `describe`, or a skipped one that says aloud why. */
export function describeWithChromium(title: string, body: () => void): void {
  describeUnless(chromiumMissing(), title, body);
}

export interface Browser {
  context: BrowserContext;
  close(): Promise<void>;
}

/** A browser of its own, with nothing in it; `close` leaves nothing behind. */
export async function startBrowser(options: BrowserContextOptions = {}): Promise<Browser> {
  const folder = await mkdtemp(join(tmpdir(), 'volley-chromium-'));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: EXECUTABLE,
    args: ARGUMENTS,
    timeout: 60_000,
    viewport: { width: 1440, height: 900 },
    ...options,
  });
  context.setDefaultTimeout(60_000);
  return {
    context,
    async close() {
      await context.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Builds the console into a folder of its own, so that a test never sees an old page. */
export async function buildConsole(): Promise<{ folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'volley-console-'));
  const root = resolve(__dirname, '../../..');
  const vite = join(root, 'node_modules/vite/bin/vite.js');
  await promisify(execFile)(
    process.execPath,
    [vite, 'build', '--outDir', folder, '--emptyOutDir', '--logLevel', 'warn'],
    {
      cwd: join(root, 'apps/console'),
      timeout: 180_000,
    },
  );
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}
