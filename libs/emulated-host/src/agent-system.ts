import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import type { ArchiveEntry } from '#cpio';
import { agentFiles, INSTALLED_AT } from './agent-files';
import { SECOND_STAGE } from './agent-init';
import type { EmulatedHostTools } from './emulated-host.requirements';
import { writeExt4Image } from './ext4-image';
import { findProgram } from './find-program';
import { programFiles } from './program-files';

/** Programs of this machine that a host agent calls, beside busybox. Without one, the agent offers less. */
const HELPERS = [
  { program: 'nft', debianPackage: 'nftables', without: 'no network for microVMs' },
  { program: 'ip', debianPackage: 'iproute2', without: 'no network for microVMs' },
  { program: 'mkfs.ext4', debianPackage: 'e2fsprogs', without: 'no disks for microVMs' },
  // That of busybox keeps no holes.
  { program: 'cp', debianPackage: 'coreutils', without: 'no templates of microVMs with disks' },
  { program: 'nsenter', debianPackage: 'util-linux', without: undefined },
  { program: 'mkfs.erofs', debianPackage: 'erofs-utils', without: undefined },
  { program: 'mksquashfs', debianPackage: 'squashfs-tools', without: undefined },
] as const;

/** Debian's layout, in which /bin is /usr/bin. */
const LAYOUT: readonly ArchiveEntry[] = [
  ...['bin', 'sbin', 'lib', 'lib64'].flatMap((name): ArchiveEntry[] => [
    { path: `/usr/${name}`, folder: true },
    { path: `/${name}`, linkTo: `usr/${name}` },
  ]),
  ...['dev', 'proc', 'sys', 'run', 'tmp', 'root', 'mnt', 'var/lib/volley', 'var/tmp'].map((name) => ({
    path: `/${name}`,
    folder: true as const,
  })),
  { path: '/etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' },
  { path: '/etc/group', content: 'root:x:0:\nkvm:x:104:\nnogroup:x:65534:\n' },
  { path: '/etc/hosts', content: '127.0.0.1 localhost\n::1 localhost\n' },
  { path: '/etc/resolv.conf', content: 'nameserver 10.0.2.3\n' },
];

export interface AgentSystem {
  /** A read-only ext4 image: the root file system of a host whose second stage is `/sbin/volley-host`. */
  readonly image: string;
  /** What this machine does not have, and what that means in there: for people. */
  readonly missing: readonly string[];
}

export interface AgentSystemOptions {
  /** The checkout, or wherever `dist`, `node_modules` and `native/build` lie. */
  readonly root: string;
  /** Images are kept here, named after what is in them. */
  readonly cacheFolder: string;
  readonly tools: EmulatedHostTools;
  /** Told when something takes a while. */
  readonly note?: (text: string) => void;
}

/**
 * The root file system of an emulated host that runs the host agent: Node, the agent, VMM and guests, busybox, the
 * programs the agent calls and the kernel's modules. Made once for the same content; some 10 s.
 *
 * Rejects with {@link EmulatedHostError} when Volley is not built here, or `mkfs.ext4` is missing.
 */
export async function agentSystem({ root, cacheFolder, tools, note }: AgentSystemOptions): Promise<AgentSystem> {
  const missing = HELPERS.filter(({ program, without }) => without !== undefined && !findProgram(program)).map(
    ({ program, debianPackage, without }) =>
      `${program} is missing (Debian package ${debianPackage}): ${without} on the emulated host`,
  );
  const entries = systemEntries(root, tools);
  const image = join(cacheFolder, `${digestOf(entries)}.ext4`);
  if (existsSync(image)) {
    utimesSync(image, new Date(), new Date());
    return { image, missing };
  }
  note?.('making the file system of the emulated host, once for this build ...');
  mkdirSync(cacheFolder, { recursive: true });
  await writeExt4Image(image, entries, (folder) => indexModules(folder, tools));
  prune(cacheFolder);
  return { image, missing };
}

function systemEntries(root: string, tools: EmulatedHostTools): ArchiveEntry[] {
  const { kernel, busybox } = tools;
  const helpers = HELPERS.map(({ program }) => findProgram(program)).filter((path) => path !== undefined);
  const real = new Set([...helpers.map((path) => path.slice(path.lastIndexOf('/') + 1)), 'busybox']);
  const applets = execFileSync(busybox, ['--list'], { encoding: 'utf8', timeout: 10_000 }).split('\n').filter(Boolean);
  const binding = join(root, 'native/build/binding/volley.node');
  const programs = [process.execPath, ...helpers, ...(existsSync(binding) ? [binding] : [])];
  return [
    ...LAYOUT,
    ...(existsSync('/etc/mke2fs.conf') ? [{ path: '/etc/mke2fs.conf', from: '/etc/mke2fs.conf' }] : []),
    ...applets.filter((name) => !real.has(name)).map((name) => ({ path: `/usr/bin/${name}`, linkTo: 'busybox' })),
    { path: '/usr/bin/busybox', mode: 0o755, from: busybox },
    // Where the kernel looks for it.
    { path: '/usr/sbin/modprobe', linkTo: '../bin/busybox' },
    { path: '/usr/sbin/volley-host', mode: 0o755, content: SECOND_STAGE },
    ...unique(
      programs.flatMap((program) => (program === binding ? programFiles(program).slice(1) : programFiles(program))),
    ),
    ...(process.execPath === '/usr/bin/node' ? [] : [{ path: '/usr/bin/node', linkTo: process.execPath }]),
    ...moduleFiles(kernel.modules).map((from) => ({
      path: `/usr/lib/modules/${kernel.release}/${relative(kernel.modules, from)}`,
      from,
    })),
    { path: `${INSTALLED_AT}/kernel-release`, content: `${kernel.release}\n` },
    ...agentFiles(root),
  ];
}

/** Libraries that several programs share, once. */
function unique(entries: readonly ArchiveEntry[]): ArchiveEntry[] {
  return [...new Map(entries.map((entry) => [entry.path, entry])).values()];
}

/** Modules, and lists of what the kernel has built in. */
function moduleFiles(modules: string): string[] {
  return readdirSync(modules, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && (/\.ko(\.xz|\.zst)?$/.test(entry.name) || entry.name.startsWith('modules.')))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Only an installed kernel has an index of its modules. */
async function indexModules(folder: string, { busybox, kernel }: EmulatedHostTools): Promise<void> {
  await promisify(execFile)(busybox, ['depmod', '-b', folder, kernel.release], { timeout: 120_000 });
}

/** The same content gives the same name: paths, modes, links and bytes. */
function digestOf(entries: readonly ArchiveEntry[]): string {
  const hash = createHash('sha256');
  for (const entry of entries) {
    hash.update(JSON.stringify({ ...entry, from: undefined, content: undefined }));
    if ('from' in entry) {
      const bytes = readFileSync(realpathSync(entry.from));
      hash.update(`${bytes.length}\n`).update(bytes);
    } else if ('content' in entry) {
      hash.update(`${entry.content.length}\n`).update(entry.content);
    }
  }
  return hash.digest('hex').slice(0, 24);
}

/** Keeps the images that were used last. */
function prune(cacheFolder: string): void {
  const images = readdirSync(cacheFolder)
    .filter((name) => name.endsWith('.ext4'))
    .map((name) => join(cacheFolder, name))
    .map((path) => ({ path, usedMs: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.usedMs - a.usedMs);
  for (const { path } of images.slice(IMAGES_KEPT)) rmSync(path, { force: true });
}

const IMAGES_KEPT = 3;
