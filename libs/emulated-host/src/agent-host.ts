import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeCpioArchive } from '#cpio';
import { kernelModules } from '#kernel-package';
import { AGENT_STARTED, CLOCK, CLOCK_WANTED, firstStage, SHUTDOWN } from './agent-init';
import { EmulatedHost } from './emulated-host';
import type { EmulatedHostTools } from './emulated-host.requirements';
import { makeExt4Disk } from './ext4-image';
import { busyboxFileSystem } from './host-file-system';
import { shellEnvironment } from './shell-environment';

export interface AgentHostOptions {
  readonly tools: EmulatedHostTools;
  /** See `agentSystem`. */
  readonly systemImage: string;
  /** What the host keeps: its disk, with the agent's journal and the disks of its microVMs. Only its owner may enter. */
  readonly folder: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  /** Size of the disk, when it is made; it takes as much room as is written to it. */
  readonly diskMiB: number;
  /** Environment of the agent. `VOLLEY_HOST_ID` is needed: it names the host. */
  readonly environment: Readonly<Record<string, string>>;
  /** Files of `/etc/volley` with their content, readable by root alone, such as `nats.token`. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Where a shell of the host is to be found, at most 100 bytes. */
  readonly shellSocket?: string;
}

/** How often the host is told the time. */
const CLOCK_PERIOD_MS = 30_000;
/** Loaded before anything is mounted. */
const EARLY_MODULES = ['virtio_pci', 'virtio_blk', 'ext4', 'overlay'];
/** The secrets are in it: for QEMU to read once. */
const INITRD = 'initrd.cpio';
const DISK = 'disk.ext4';

/** An emulated host that runs the host agent. It joins whatever NATS its environment names, as any host would. */
export class AgentHost {
  /**
   * Writes what the host boots from and starts it; does not wait for it.
   *
   * Rejects with {@link EmulatedHostError}, or what the file system says.
   */
  static async start(options: AgentHostOptions): Promise<AgentHost> {
    const { tools, folder, systemImage, memoryMiB, cpus, shellSocket } = options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
    const disk = join(folder, DISK);
    await makeExt4Disk(disk, options.diskMiB);
    const initrd = join(folder, INITRD);
    rmSync(initrd, { force: true });
    const modules = kernelModules(tools.kernel, EARLY_MODULES);
    writeCpioArchive(initrd, [
      ...busyboxFileSystem(tools.busybox),
      ...modules.map(({ name, content }) => ({ path: `/modules/${name}.ko`, content })),
      { path: '/init', mode: 0o755, content: firstStage(modules.map(({ name }) => name)) },
      { path: '/volley', folder: true, mode: 0o700 },
      { path: '/volley/host.env', mode: 0o600, content: shellEnvironment(options.environment) },
      ...Object.entries(options.secrets).map(([name, content]) => ({ path: `/volley/${name}`, mode: 0o600, content })),
    ]);
    if (shellSocket !== undefined) rmSync(shellSocket, { force: true });
    const emulation = EmulatedHost.boot(
      tools.qemu,
      {
        kernelImage: tools.kernel.image,
        initrd,
        memoryMiB,
        cpus,
        network: true,
        disks: [{ path: systemImage, readOnly: true }, { path: disk }],
        ...(shellSocket === undefined ? {} : { secondSerial: shellSocket }),
      },
      {
        onEnd: () => {
          rmSync(initrd, { force: true });
          if (shellSocket !== undefined) rmSync(shellSocket, { force: true });
        },
      },
    );
    return new AgentHost(emulation, initrd);
  }

  private constructor(
    readonly emulation: EmulatedHost,
    private readonly initrd: string,
  ) {}

  /**
   * Waits until the host has booted and starts its agent. That it has joined is for the control plane to say.
   *
   * Throws {@link EmulatedHostError} when it does not in time.
   */
  async agentStarted(deadlineMs: number): Promise<void> {
    await this.emulation.waitFor(CLOCK_WANTED, deadlineMs);
    // On a busy machine the clock of an emulated one has been seen to be minutes ahead after booting, and to stay so.
    this.tellTime(CLOCK_PERIOD_MS);
    await this.emulation.waitFor(AGENT_STARTED, deadlineMs);
    rmSync(this.initrd, { force: true });
  }

  /** At the turn of the second, now and then again. */
  private tellTime(periodMs: number): void {
    const turn = setTimeout(
      () => {
        if (this.emulation.ended !== undefined) return;
        this.emulation.type(`${CLOCK} ${Math.round(Date.now() / 1_000)}`);
        setTimeout(() => this.tellTime(periodMs), periodMs).unref();
      },
      1_000 - (Date.now() % 1_000),
    );
    turn.unref();
  }

  /** Lets the agent finish and the host power off; when that takes too long, just ends it. Its microVMs end with it. */
  async stop(deadlineMs: number): Promise<void> {
    this.emulation.type(SHUTDOWN);
    if (!(await this.emulation.endsWithin(deadlineMs))) await this.emulation.stop();
  }
}
