import { join, resolve } from 'node:path';
import { EmulatedHostError, fetchEmulatedHostTools, startMirrorHost } from '#emulated-host';
import { KernelUnavailableError } from '#kernel-package';
import { CliError } from '../errors';
import { CommandOutput } from './command-output';

export interface EmulatedRun {
  /** The checkout: where kernels are kept. */
  root: string;
  argv: string[];
  /** Beside `PATH`, `HOME` and what says nothing about this machine. */
  environment: Record<string, string>;
  /** Folders in which what is written there is written here. */
  shared: string[];
  memoryMiB: number;
  cpus: number;
  /** ms after which the host is ended, with all that runs on it. */
  deadlineMs: number;
}

/** Passed on as they are. */
const PASSED = ['HOME', 'LANG', 'LC_ALL', 'CI', 'NO_COLOR'];

/**
 * Runs a program on an emulated host that has this machine's files; in the folder in which we are. Gives its exit code.
 *
 * @throws CliError naming what is missing, or what the console of the host said when it did not come so far.
 */
export async function runEmulated(
  { root, argv, environment, shared, memoryMiB, cpus, deadlineMs }: EmulatedRun,
  printed: (bytes: Buffer) => void,
): Promise<number> {
  const found = await fetchEmulatedHostTools(join(root, '.volley', 'cache', 'kernels'), 'generic');
  if (!found.available) throw new CliError(`no emulated host is possible here: ${found.reason}`);
  const given = PASSED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
  try {
    const host = startMirrorHost({
      tools: found.tools,
      argv,
      workingFolder: process.cwd(),
      environment: {
        PATH: `${process.env['PATH'] ?? ''}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        // What would be installed over there is forgotten; everything is brought up to date here.
        VOLLEY_SETUP: 'skip',
        ...(Object.fromEntries(given) as Record<string, string>),
        ...environment,
      },
      shared: shared.map((folder) => resolve(folder)),
      memoryMiB,
      cpus,
      lifetimeMs: deadlineMs,
    });
    const output = new CommandOutput();
    host.onConsole((text) => printed(Buffer.from(output.take(text), 'latin1')));
    const stop = (): void => void host.stop();
    process.once('SIGINT', stop).once('SIGTERM', stop);
    try {
      return await host.scriptStatus(deadlineMs);
    } finally {
      process.off('SIGINT', stop).off('SIGTERM', stop);
      await host.stop();
    }
  } catch (error) {
    if (!(error instanceof EmulatedHostError || error instanceof KernelUnavailableError)) throw error;
    throw new CliError(`the emulated host did not come to the end of that: ${error.message}`);
  }
}
