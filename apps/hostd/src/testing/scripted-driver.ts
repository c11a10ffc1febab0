import {
  VmmGoneError,
  VmmLaunchError,
  type ExitReport,
  type KvmProbe,
  type LaunchSpec,
  type MicrovmDriver,
  type MicrovmProcess,
  type Shell,
  type VmmIdentity,
} from '#microvm';
import type { ScriptedHost } from './scripted-host';
import { ScriptedProcess } from './scripted-process';
import { tick } from './waits';

/**
 * The way of one agent to the processes of the scripted host. Words of a command line: `no-launch` cannot be launched,
 * `slow-launch` takes its time, `no-boot` never boots, and `exit` powers off as soon as it has booted.
 */
export class ScriptedDriver implements MicrovmDriver {
  closed = false;
  inFlight = 0;
  mostInFlight = 0;

  constructor(private readonly host: ScriptedHost) {}

  probe(): KvmProbe {
    return { available: true, kind: 'software' };
  }
  async launch(spec: LaunchSpec, shell?: Shell): Promise<MicrovmProcess> {
    if (shell && this.shellsAreGone) throw new VmmLaunchError('the shell has ended', 'ESRCH');
    if (shell) this.usedShells++;
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    try {
      await tick();
      if (this.closed) return await new Promise(() => undefined);
      if (spec.cmdline.includes('no-launch')) throw new VmmLaunchError('no memory for it', 'ENOMEM');
      if (spec.cmdline.includes('slow-launch')) await new Promise((resolve) => setTimeout(resolve, 30));
      const vmm = this.host.spawn(spec);
      await tick();
      if (!vmm.words.includes('no-boot')) {
        setImmediate(() => {
          this.host.boot(vmm);
          if (vmm.words.includes('exit')) this.host.end(vmm, 'powerOff');
        });
      }
      return new ScriptedProcess(this.host, vmm, this);
    } finally {
      this.inFlight--;
    }
  }
  usedShells = 0;
  shellsAreGone = false;
  prepare(): Promise<Shell> {
    return Promise.resolve({
      pid: 1,
      barriers: [],
      primed: undefined,
      ended: new Promise<void>(() => undefined),
      discard: () => undefined,
    });
  }
  prime(): Promise<void> {
    return Promise.reject(new Error('nothing is primed here'));
  }
  jail(): ReturnType<MicrovmDriver['jail']> {
    return { barriers: [], missing: [] };
  }
  openTap(): number {
    throw new VmmLaunchError('no taps here');
  }
  async adopt(id: string, identity: VmmIdentity): Promise<MicrovmProcess> {
    await tick();
    const vmm = this.host.vmms.get(identity.pid);
    if (vmm?.id === id && vmm.startTicks === identity.startTicks && !vmm.end) {
      // The guest boots whether or not an agent is there.
      if (!vmm.booted && !vmm.words.includes('no-boot')) setImmediate(() => this.host.boot(vmm));
      return new ScriptedProcess(this.host, vmm, this);
    }
    const report: ExitReport = vmm?.end ?? { reason: 'lost', message: 'it is gone', atNs: 0n };
    throw new VmmGoneError(report);
  }
  async find(id: string, directory: string): Promise<VmmIdentity | undefined> {
    await tick();
    const vmm = this.host.alive().find((one) => one.id === id && one.directory === directory);
    return vmm && new ScriptedProcess(this.host, vmm, this).identity;
  }
  close(): void {
    this.closed = true;
  }
}
