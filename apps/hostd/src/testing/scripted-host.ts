import type { ExitReport, LaunchSpec } from '#microvm';
import { leavePages } from './vmm-pages';

/** One VMM of the scripted host. */
export interface ScriptedVmm {
  /** Folder of the snapshot that it went on from. */
  restoredFrom: string | undefined;
  pid: number;
  startTicks: string;
  id: string;
  directory: string;
  launchedNs: bigint;
  /** Of its command line. They say how it behaves: the driver and the process look for those they know. */
  words: string[];
  booted: boolean;
  paused: boolean;
  bootedNs: bigint;
  end?: ExitReport;
  /** Told when it has booted and when it has ended. */
  listeners: Set<() => void>;
}

/** The processes of a host: they outlive agents. */
export class ScriptedHost {
  /** By pid, with those that have ended. */
  readonly vmms = new Map<number, ScriptedVmm>();
  /** What never may happen, and has. */
  readonly violations: string[] = [];
  launches = 0;
  /** By slot. */
  readonly oomKills = new Map<number, number>();
  // Above every number that a real process of this machine can have.
  #pid = 5_000_000;
  /** Called after every change of a process. */
  onChange: () => void = () => undefined;

  spawn(spec: LaunchSpec): ScriptedVmm {
    for (const other of this.vmms.values()) {
      if (other.id === spec.id && !other.end) this.violations.push(`double run of ${spec.id}`);
    }
    const pid = ++this.#pid;
    const vmm: ScriptedVmm = {
      pid,
      startTicks: String(pid * 7),
      id: spec.id,
      directory: spec.directory,
      launchedNs: process.hrtime.bigint(),
      words: spec.cmdline.split(' '),
      restoredFrom: spec.restore?.directory,
      booted: false,
      bootedNs: 0n,
      paused: false,
      listeners: new Set(),
    };
    this.launches++;
    this.vmms.set(pid, vmm);
    leavePages(spec.directory, pid);
    this.onChange();
    return vmm;
  }

  end(vmm: ScriptedVmm, reason: ExitReport['reason'], message = `ended: ${reason}`): void {
    if (vmm.end) return;
    vmm.end = { reason, message, atNs: process.hrtime.bigint() };
    for (const tell of vmm.listeners) tell();
    this.onChange();
  }

  boot(vmm: ScriptedVmm): void {
    if (vmm.end) return;
    vmm.booted = true;
    vmm.bootedNs = process.hrtime.bigint();
    for (const tell of vmm.listeners) tell();
    this.onChange();
  }

  alive(): ScriptedVmm[] {
    return [...this.vmms.values()].filter((vmm) => !vmm.end);
  }

  /** The same processes at another time or place. */
  copy(moveTo: (directory: string) => string): ScriptedHost {
    const host = new ScriptedHost();
    host.#pid = this.#pid;
    for (const vmm of this.vmms.values()) {
      host.vmms.set(vmm.pid, { ...vmm, directory: moveTo(vmm.directory), listeners: new Set() });
    }
    return host;
  }
}
