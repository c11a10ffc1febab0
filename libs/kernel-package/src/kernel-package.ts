import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { KernelUnavailableError } from './errors';
import { runSteps, walkSteps, type Step, type Steps } from './steps';

/** An unpacked, unmodified kernel of the distribution, and its modules. */
export interface KernelPackage {
  /** The Debian package, such as `linux-image-6.1.0-25-cloud-amd64`. */
  readonly name: string;
  /** What `uname -r` will say, such as `6.1.0-25-cloud-amd64`. */
  readonly release: string;
  /** The kernel image (a bzImage) on this machine. */
  readonly image: string;
  /** The folder of its modules on this machine. */
  readonly modules: string;
}

/** `cloud`: a smaller kernel with the drivers of virtual machines. `generic`: the one for any machine, three times as large. */
export type KernelFlavour = 'cloud' | 'generic';

/** The distribution's packages that always depend on its newest kernel of a flavour. */
const NEWEST: Record<KernelFlavour, string> = { cloud: 'linux-image-cloud-amd64', generic: 'linux-image-amd64' };
const LOOK_UP_MS = 30_000;
const DOWNLOAD_MS = 180_000;
const UNPACK_MS = 120_000;
/** Nobody works on one for longer than this. */
const DRAFT_LIFE_MS = 3_600_000;

export interface KernelPackageOptions {
  /** Where unpacked kernels are kept, each in a folder named after its package. */
  readonly cacheFolder: string;
  /** Default: `cloud`. */
  readonly flavour?: KernelFlavour;
  /** A package by name, such as `linux-image-6.1.0-25-amd64`, or one that depends on the newest; instead of a flavour. */
  readonly packageName?: string;
}

/**
 * Fetches the distribution's newest kernel with its own package tools, which check its signature, and unpacks it under
 * `cacheFolder`; it is never installed, so this machine's own boot files stay as they are, and no privilege is needed.
 * A kernel fetched before is taken again, also when the machine is offline.
 *
 * Rejects with {@link KernelUnavailableError} when there is none in the cache and none can be fetched.
 */
export function fetchKernelPackage(options: KernelPackageOptions): Promise<KernelPackage> {
  return walkSteps(fetching(options));
}

/** {@link fetchKernelPackage}, for programs that have nothing else to do meanwhile. */
export function fetchKernelPackageSync(options: KernelPackageOptions): KernelPackage {
  return runSteps(fetching(options));
}

/** The newest kernel of a flavour in the cache, if any. Asks nobody. */
export function cachedKernelPackage(options: KernelPackageOptions): KernelPackage | undefined {
  const { cacheFolder, packageName } = options;
  if (packageName !== undefined && !isMeta(packageName)) {
    const folder = join(cacheFolder, packageName);
    return existsSync(folder) ? describeKernelPackage(folder, packageName) : undefined;
  }
  const flavour = flavourOfMeta(options);
  if (flavour === undefined) return undefined;
  const numeric = new Intl.Collator('en', { numeric: true });
  const newest = (existsSync(cacheFolder) ? readdirSync(cacheFolder) : [])
    .filter((name) => flavourOf(name) === flavour)
    .sort((a, b) => numeric.compare(a, b))
    .at(-1);
  return newest === undefined ? undefined : describeKernelPackage(join(cacheFolder, newest), newest);
}

/**
 * Unpacks a kernel package that is at hand as a file (`linux-image-*.deb`) into a folder that is not there yet.
 *
 * Rejects with {@link KernelUnavailableError} when it holds no kernel.
 */
export function unpackKernelPackage(debFile: string, folder: string): Promise<KernelPackage> {
  return walkSteps(unpacking(debFile, folder));
}

/**
 * What lies in the folder of an unpacked kernel package.
 *
 * Throws {@link KernelUnavailableError} when it is not one.
 */
export function describeKernelPackage(folder: string, name?: string): KernelPackage {
  const boot = join(folder, 'boot');
  const image = existsSync(boot) ? readdirSync(boot).find((file) => file.startsWith('vmlinuz-')) : undefined;
  if (image === undefined) throw new KernelUnavailableError(`no kernel image in ${folder}; remove that folder`);
  const release = image.slice('vmlinuz-'.length);
  const modules = ['lib/modules', 'usr/lib/modules'].map((path) => join(folder, path, release)).find(existsSync);
  if (modules === undefined) throw new KernelUnavailableError(`no modules in ${folder}; remove that folder`);
  return { name: name ?? `linux-image-${release}`, release, image: join(boot, image), modules };
}

function* fetching(options: KernelPackageOptions): Steps<KernelPackage> {
  const { cacheFolder, flavour = 'cloud', packageName = NEWEST[flavour] } = options;
  mkdirSync(cacheFolder, { recursive: true });
  sweepDrafts(cacheFolder);
  try {
    const name = isMeta(packageName) ? yield* newestPackage(packageName) : packageName;
    const folder = join(cacheFolder, name);
    if (!existsSync(folder)) yield* downloading(name, cacheFolder, folder);
    return describeKernelPackage(folder, name);
  } catch (cause) {
    const cached = cachedKernelPackage(options);
    if (cached === undefined) throw cause;
    return cached;
  }
}

function* newestPackage(metaPackage: string): Steps<string> {
  try {
    const answer = yield step('apt-cache', ['depends', '--important', metaPackage], LOOK_UP_MS);
    const name = /Depends: (linux-image-\S+)/.exec(answer)?.[1];
    if (name === undefined) throw new Error('apt-cache names no dependency');
    return name;
  } catch (cause) {
    throw new KernelUnavailableError(
      `the package ${metaPackage} is not known here; on Debian, run \`apt-get update\` (${firstLine(cause)})`,
    );
  }
}

function* downloading(name: string, cacheFolder: string, folder: string): Steps<void> {
  const work = mkdtempSync(join(cacheFolder, 'fetch-'));
  try {
    // As root, apt downloads as the user _apt, who may not write here; the signature check does not depend on it.
    yield step('apt-get', ['-o', 'APT::Sandbox::User=root', 'download', name], DOWNLOAD_MS, work);
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new Error('apt-get left no package behind');
    yield* unpacking(join(work, archive), folder);
  } catch (cause) {
    throw new KernelUnavailableError(`the kernel package ${name} could not be fetched (${firstLine(cause)})`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function* unpacking(debFile: string, folder: string): Steps<KernelPackage> {
  const draft = mkdtempSync(`${folder}.`);
  try {
    yield step('dpkg', ['-x', debFile, draft], UNPACK_MS);
    describeKernelPackage(draft);
    // In one step, so that a second process sees either nothing or all of it.
    if (!existsSync(folder)) {
      try {
        renameSync(draft, folder);
      } catch (cause) {
        if (!existsSync(folder)) throw cause; // else another process was faster
      }
    }
    return describeKernelPackage(folder);
  } catch (cause) {
    if (cause instanceof KernelUnavailableError) throw cause;
    throw new KernelUnavailableError(`${debFile} could not be unpacked (${firstLine(cause)})`);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Whether a package holds no kernel itself, but depends on the newest one. */
function isMeta(packageName: string): boolean {
  return !/^linux-image-\d/.test(packageName);
}

function flavourOfMeta({ flavour = 'cloud', packageName }: KernelPackageOptions): KernelFlavour | undefined {
  if (packageName === undefined) return flavour;
  return (Object.keys(NEWEST) as KernelFlavour[]).find((one) => NEWEST[one] === packageName);
}

/** Of a folder in the cache; undefined for drafts, real-time kernels and what else lies there. */
function flavourOf(name: string): KernelFlavour | undefined {
  if (!/^linux-image-\d\S*-amd64$/.test(name) || name.endsWith('-rt-amd64')) return undefined;
  return name.endsWith('-cloud-amd64') ? 'cloud' : 'generic';
}

/** Removes what a process that was killed has left of its work. */
function sweepDrafts(cacheFolder: string): void {
  for (const name of readdirSync(cacheFolder)) {
    if (!name.startsWith('fetch-') && !/^linux-image-.*\.[A-Za-z0-9]{6}$/.test(name)) continue;
    const draft = join(cacheFolder, name);
    const { mtimeMs } = statSync(draft, { throwIfNoEntry: false }) ?? { mtimeMs: Infinity };
    if (Date.now() - mtimeMs > DRAFT_LIFE_MS) rmSync(draft, { recursive: true, force: true });
  }
}

function step(program: string, argv: readonly string[], deadlineMs: number, folder?: string): Step {
  return { program, argv, deadlineMs, ...(folder === undefined ? {} : { folder }) };
}

/** What a program printed on standard error says more than that it failed. */
function firstLine(cause: unknown): string {
  const printed = (cause as { stderr?: unknown }).stderr;
  const text = typeof printed === 'string' && printed.trim() !== '' ? printed : messageOf(cause);
  return text.split('\n').find((line) => line.trim() !== '') ?? 'no reason given';
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
