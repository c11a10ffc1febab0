import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCpioArchive } from '#cpio';
import { kernelModules } from '#kernel-package';
import { EmulatedHost } from './emulated-host';
import type { EmulatedHostTools } from './emulated-host.requirements';
import { busyboxFileSystem } from './host-file-system';
import { mirrorInit } from './mirror-init';
import { shellCommand } from './shell-environment';

export interface MirrorHostOptions {
  /** Its kernel must have a client of 9P: Debian's generic flavour has, the cloud flavour has not. */
  readonly tools: EmulatedHostTools;
  /** What runs in the host, as root: a program and its arguments. */
  readonly argv: readonly string[];
  /** Where it starts; a folder of this machine. */
  readonly workingFolder: string;
  /** All of its environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Folders of this machine, absolute, in which what is written there is written here. */
  readonly shared?: readonly string[];
  /** What is written in the host counts, too: it is kept in its memory. */
  readonly memoryMiB: number;
  readonly cpus: number;
  /** The host is killed when it is older than this. */
  readonly lifetimeMs: number;
}

/** The tag of this machine's files. */
const FILES = 'machine';
/** Loaded at the start: this machine has no index of the modules of a kernel that is not installed on it, so nothing can be loaded on demand. */
const MODULES = [
  ...['virtio_pci', 'virtio_net', '9pnet_virtio', '9p', 'overlay', 'kvm-amd', 'tun', 'veth', 'crc32c_generic'],
  ...[
    'nf_tables',
    'nft_chain_nat',
    'nft_nat',
    'nft_masq',
    'nft_ct',
    'nft_limit',
    'nft_objref',
    'nft_reject_inet',
    'nft_fib_inet',
  ],
];

/**
 * Starts an emulated host that has all files of this machine, at the same paths: what runs here runs there, and finds a `/dev/kvm`.
 * It reads them as this process's user may, as they are at that time; what it writes stays in its memory and ends with it. `/run` and
 * `/dev/shm` are its own, and so are its processes, networks and cgroups (v2). Its status is {@link EmulatedHost.scriptStatus}.
 *
 * Throws `KernelUnavailableError` when the kernel lacks a module.
 */
export function startMirrorHost(options: MirrorHostOptions): EmulatedHost {
  const { tools, argv, workingFolder, environment, shared = [], memoryMiB, cpus, lifetimeMs } = options;
  const writable = shared.map((path, index) => ({ path, tag: `shared${index}`, writable: true }));
  const modules = kernelModules(tools.kernel, MODULES);
  const folder = mkdtempSync(join(tmpdir(), 'volley-mirror-host-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const initrd = join(folder, 'initramfs.cpio');
    writeCpioArchive(initrd, [
      ...busyboxFileSystem(tools.busybox),
      ...modules.map(({ name, content }) => ({ path: `/modules/${name}.ko`, content })),
      { path: '/command', mode: 0o700, content: shellCommand(argv, workingFolder, environment) },
      {
        path: '/init',
        mode: 0o755,
        content: mirrorInit(
          modules.map(({ name }) => name),
          FILES,
          writable,
        ),
      },
    ]);
    const machine = { kernelImage: tools.kernel.image, initrd, memoryMiB, cpus, network: true };
    return EmulatedHost.boot(
      tools.qemu,
      { ...machine, shares: [{ path: '/', tag: FILES }, ...writable] },
      { lifetimeMs, onEnd: remove },
    );
  } catch (cause) {
    remove();
    throw cause;
  }
}
