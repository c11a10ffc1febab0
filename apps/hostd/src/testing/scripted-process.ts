import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  VmmControlError,
  VmmExitedError,
  type ExitReport,
  type MicrovmProcess,
  type MicrovmStats,
  type SerialRead,
  type SnapshotOptions,
  type SnapshotReport,
  type VmmIdentity,
} from '#microvm';
import type { ScriptedHost, ScriptedVmm } from './scripted-host';
import { tick } from './waits';

/**
 * A VMM of the scripted host in the hands of one agent. Words of its command line: `mute` does not answer a pause, `no-pause`
 * refuses it, `no-snapshot` cannot write one, `deaf` ignores the power button, and `immortal` does not end when it is killed.
 */
export class ScriptedProcess implements MicrovmProcess {
  readonly booted: Promise<bigint>;
  readonly exited: Promise<ExitReport>;

  constructor(
    private readonly host: ScriptedHost,
    readonly vmm: ScriptedVmm,
    /** Of the agent: once it is closed, nothing is done for that agent or told to it any more. */
    private readonly driver: { readonly closed: boolean },
  ) {
    let boot!: (at: bigint) => void;
    let fail!: (error: Error) => void;
    let exit!: (report: ExitReport) => void;
    this.booted = new Promise((resolve, reject) => ([boot, fail] = [resolve, reject]));
    this.booted.catch(() => undefined);
    this.exited = new Promise((resolve) => (exit = resolve));
    const tell = (): void => {
      if (driver.closed) return;
      if (vmm.booted) boot(vmm.bootedNs);
      if (vmm.end) fail(new VmmExitedError(vmm.end));
      if (vmm.end) exit(vmm.end);
    };
    vmm.listeners.add(tell);
    tell();
  }

  get id(): string {
    return this.vmm.id;
  }
  get identity(): VmmIdentity {
    const { pid, startTicks, directory } = this.vmm;
    return { pid, startTicks, bootId: 'boot', directory };
  }
  async pause(): Promise<void> {
    await tick();
    if (this.vmm.words.includes('mute')) return new Promise(() => undefined);
    if (this.vmm.end || this.vmm.words.includes('no-pause')) throw new VmmControlError('the VMM refused');
    this.vmm.paused = true;
    this.host.onChange();
  }
  async snapshot(folder: string, { resume }: SnapshotOptions = {}): Promise<SnapshotReport> {
    await tick();
    if (this.vmm.end) throw new VmmControlError('the VMM is gone');
    const wasPaused = this.vmm.paused;
    this.vmm.paused = true;
    await tick();
    if (this.driver.closed) return new Promise(() => undefined);
    if (this.vmm.words.includes('no-snapshot')) throw new VmmControlError('its disk is full');
    for (const file of ['state', 'memory']) writeFileSync(join(folder, file), `${file} of ${this.vmm.id}`);
    this.vmm.paused = resume === undefined ? wasPaused : !resume;
    this.host.onChange();
    const copy = { tracking: 'manual' as const, converged: true, roundBytes: [4_096, 0] };
    return { kind: 'full', pauseNs: 2e6, totalNs: 3e6, pages: 1, bytes: 4_096, copy };
  }
  async resume(): Promise<void> {
    await tick();
    if (this.vmm.end) throw new VmmControlError('the VMM is gone');
    this.vmm.paused = false;
    this.host.onChange();
  }
  async pressPowerButton(): Promise<void> {
    await tick();
    if (this.driver.closed) return;
    if (!this.vmm.paused && !this.vmm.words.includes('deaf')) this.host.end(this.vmm, 'powerOff');
  }
  async pressCtrlAltDel(): Promise<void> {
    await tick();
    if (!this.driver.closed) this.host.end(this.vmm, 'reboot');
  }
  async type(bytes: Uint8Array): Promise<number> {
    await tick();
    return bytes.length;
  }
  async setLimit(): Promise<void> {
    await tick();
  }
  async setBalloon(): Promise<void> {
    await tick();
  }
  kill(): void {
    if (this.driver.closed || this.vmm.words.includes('immortal')) return;
    setImmediate(() => this.host.end(this.vmm, 'killed'));
  }
  stats(): MicrovmStats {
    const { launchedNs: at, bootedNs } = this.vmm;
    return {
      state: this.vmm.end ? 'exited' : this.vmm.paused ? 'paused' : this.vmm.booted ? 'running' : 'starting',
      pid: this.vmm.pid,
      ...{
        launchedNs: at,
        enteredNs: at,
        vmCreatedNs: at,
        memoryNs: at,
        loadedNs: at,
        vcpusNs: at,
        runNs: at,
        bootedNs,
      },
      ...{ exitedNs: 0n, exitsTotal: 0, exitsPio: 0, exitsMmio: 0, exitsHlt: 0, exitsSignal: 0, serialBytes: 0 },
      ...{ unknownIo: 0, guestMemoryAddress: 0n, guestMemoryBytes: 0, vcpuTids: [] },
      ...{ serialDropped: 0, barriers: 0, devices: [] },
    };
  }
  serial(): SerialRead {
    return { text: '', from: 0, to: 0 };
  }
  release(): void {}
}
