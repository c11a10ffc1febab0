import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentSystem, EmulatedHostError, fetchEmulatedHostTools, type EmulatedHostTools } from '#emulated-host';
import { KernelUnavailableError } from '#kernel-package';
import { CliError } from '../errors';
import { repositoryRoot } from '../repository-root';
import { type DataFolder, writeWhole } from '../supervisor/data-folder';

/** Sizes of an emulated host, as the operator asked for them. */
export interface EmulatedSizes {
  memoryMiB: number;
  cpus: number;
}

/** All that an emulated host of a data folder is made of. Found, fetched and made by `up`, once; used at each start. */
export interface EmulatedPlan extends EmulatedSizes {
  tools: EmulatedHostTools;
  systemImage: string;
  diskMiB: number;
}

/** Sparse: it takes as much room as microVMs write. */
const DISK_MIB = 32_768;

/**
 * Finds QEMU, fetches the kernel and makes the file system, as far as that is not done yet, and writes the plan down.
 *
 * @throws CliError naming what is missing and what to install.
 */
export async function planEmulatedHost(
  folder: DataFolder,
  sizes: EmulatedSizes,
  note: (text: string) => void,
): Promise<void> {
  const root = repositoryRoot();
  const cache = join(root, '.volley', 'cache');
  try {
    const found = await fetchEmulatedHostTools(join(cache, 'kernels'));
    if (!found.available) throw new CliError(`no emulated host is possible here: ${found.reason}`);
    const { image, missing } = await agentSystem({
      root,
      cacheFolder: join(cache, 'emulated'),
      tools: found.tools,
      note,
    });
    missing.forEach(note);
    mkdirSync(folder.emulated, { recursive: true, mode: 0o700 });
    const plan: EmulatedPlan = { ...sizes, tools: found.tools, systemImage: image, diskMiB: DISK_MIB };
    writeWhole(folder.emulatedPlanFile, `${JSON.stringify(plan, null, 2)}\n`);
  } catch (error) {
    if (!(error instanceof EmulatedHostError || error instanceof KernelUnavailableError)) throw error;
    throw new CliError(`no emulated host is possible here: ${error.message}`);
  }
}

/** @throws CliError when there is none. */
export function readEmulatedPlan(folder: DataFolder): EmulatedPlan {
  try {
    return JSON.parse(readFileSync(folder.emulatedPlanFile, 'utf8')) as EmulatedPlan;
  } catch (error) {
    throw new CliError(
      `${folder.emulatedPlanFile} cannot be read (${(error as Error).message}); run ./volley up --emulated`,
    );
  }
}
