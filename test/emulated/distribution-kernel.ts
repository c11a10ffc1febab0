import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { KernelUnavailableError } from './errors';

/** An unpacked, unmodified kernel of the distribution, and its modules. */
export interface DistributionKernel {
  /** What `uname -r` will say, such as `6.1.0-25-cloud-amd64`. */
  readonly release: string;
  /** The kernel image (a bzImage) on this machine. */
  readonly image: string;
  /** The folder of its modules on this machine. */
  readonly modules: string;
}

/** The distribution's package that always depends on its newest kernel for cloud machines. */
const NEWEST_CLOUD_KERNEL = 'linux-image-cloud-amd64';
const DOWNLOAD_DEADLINE_MS = 120_000;

/**
 * Fetches the distribution's newest cloud kernel with its own package tools and unpacks it under `cacheFolder`; it is
 * never installed, so this machine's own boot files stay as they are. A kernel fetched before is taken again, also
 * when the machine is offline.
 *
 * Throws {@link KernelUnavailableError} when there is none in the cache and none can be fetched.
 */
export function fetchDistributionKernel(cacheFolder: string): DistributionKernel {
  mkdirSync(cacheFolder, { recursive: true });
  const cached = cachedPackages(cacheFolder).at(-1);
  try {
    const newest = newestKernelPackage();
    const folder = join(cacheFolder, newest);
    if (!existsSync(folder)) downloadAndUnpack(newest, cacheFolder, folder);
    return describeKernel(folder);
  } catch (cause) {
    if (cached === undefined) throw cause;
    return describeKernel(join(cacheFolder, cached));
  }
}

function newestKernelPackage(): string {
  try {
    const answer = run('apt-cache', ['depends', '--important', NEWEST_CLOUD_KERNEL], 30_000);
    const name = /Depends: (linux-image-\S+)/.exec(answer)?.[1];
    if (name === undefined) throw new Error('apt-cache names no dependency');
    return name;
  } catch (cause) {
    throw new KernelUnavailableError(
      `the package ${NEWEST_CLOUD_KERNEL} is not known here; on Debian, run \`apt-get update\` (${firstLine(cause)})`,
    );
  }
}

function run(program: string, argv: readonly string[], timeout: number, cwd?: string): string {
  return execFileSync(program, argv, { timeout, cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function cachedPackages(cacheFolder: string): string[] {
  const numeric = new Intl.Collator('en', { numeric: true });
  return readdirSync(cacheFolder)
    .filter((name) => name.startsWith('linux-image-'))
    .sort((a, b) => numeric.compare(a, b));
}

function downloadAndUnpack(name: string, cacheFolder: string, folder: string): void {
  const work = mkdtempSync(join(cacheFolder, 'fetch-'));
  try {
    // As root, apt downloads as the user _apt, who may not write here; the signature check does not depend on it.
    run('apt-get', ['-o', 'APT::Sandbox::User=root', 'download', name], DOWNLOAD_DEADLINE_MS, work);
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new Error('apt-get left no package behind');
    run('dpkg', ['-x', join(work, archive), join(work, 'unpacked')], 120_000);
    describeKernel(join(work, 'unpacked'));
    // In one step, so that a second test process sees either nothing or all of it.
    if (!existsSync(folder)) renameSync(join(work, 'unpacked'), folder);
  } catch (cause) {
    if (existsSync(folder)) return;
    throw new KernelUnavailableError(`the kernel package ${name} could not be fetched (${firstLine(cause)})`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function describeKernel(folder: string): DistributionKernel {
  const boot = join(folder, 'boot');
  const image = existsSync(boot) ? readdirSync(boot).find((file) => file.startsWith('vmlinuz-')) : undefined;
  if (image === undefined) throw new KernelUnavailableError(`no kernel image in ${folder}; remove that folder`);
  const release = image.slice('vmlinuz-'.length);
  const modules = ['lib/modules', 'usr/lib/modules'].map((path) => join(folder, path, release)).find(existsSync);
  if (modules === undefined) throw new KernelUnavailableError(`no modules in ${folder}; remove that folder`);
  return { release, image: join(boot, image), modules };
}

function firstLine(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.split('\n').find((line) => line.trim() !== '') ?? 'no reason given';
}
