import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { Pacer } from '#concurrency';
import { WallClock } from '#journal';
import fc from 'fast-check';
import pino from 'pino';
import {
  VmmControlError,
  VmmExitedError,
  VmmGoneError,
  VmmLaunchError,
  type ExitReport,
  type KvmProbe,
  type LaunchSpec,
  type MicrovmDriver,
  type MicrovmProcess,
  type MicrovmStats,
  type SerialRead,
  type Shell,
  type SnapshotOptions,
  type SnapshotReport,
  type VmmIdentity,
} from '#microvm';
import { MicrovmSpec, sortableId } from '#protocol';
import { Admission } from '#scheduling';
import { Disks } from '../disks/disks';
import { SnapshotFolders } from '../snapshots/snapshot-folders';
import { TemplateStore } from '../templates/template-store';
import { WorkingSets } from '../templates/working-sets';
import { SlotKeeper } from '../slots/slot-keeper';
import { slotOf, type Slot } from '../slots/slot-layout';
import { holdsPlace } from '../journal/host-record';
import { HostJournal, type Means } from '../journal/host-journal';
import { claimedPidOffset } from '../recovery/vmm-abi';
import { reclaimOrphans } from '../recovery/orphans';
import { DEFAULT_LIMITS, ImageUnavailableError, type AgentContext, type AgentLimits } from './agent-context';
import { Chronicle, type Entry } from './chronicle';
import type { HostCommand } from './command-rules';
import { Facts } from './facts';
import { MicrovmManager } from './microvm-manager';
import { RunFolders } from './run-folders';

const HOST = 'host-1';
/** On tmpfs: hundreds of journals are opened, and syncing them to a disk is not what is tested. */
const SCRATCH = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const idOf = (n: number): string => sortableId(1_700_000_000_000 + n, Buffer.alloc(10, n));
const tick = (): Promise<void> => new Promise(setImmediate);

/** One VMM of the scripted host. The words of its command line say how it behaves. */
interface ScriptedVmm {
  /** Folder of the snapshot that it went on from. */
  restoredFrom: string | undefined;
  pid: number;
  startTicks: string;
  id: string;
  directory: string;
  launchedNs: bigint;
  words: string[];
  booted: boolean;
  paused: boolean;
  bootedNs: bigint;
  end?: ExitReport;
  listeners: Set<() => void>;
}

/** The processes of a host: they outlive agents. */
class ScriptedHost {
  readonly vmms = new Map<number, ScriptedVmm>();
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

function leavePages(directory: string, pid: number): void {
  const page = Buffer.alloc(claimedPidOffset + 4);
  page.writeUInt32LE(pid, claimedPidOffset);
  writeFileSync(join(directory, 'pages'), page);
}

class ScriptedProcess implements MicrovmProcess {
  readonly booted: Promise<bigint>;
  readonly exited: Promise<ExitReport>;

  constructor(
    private readonly host: ScriptedHost,
    readonly vmm: ScriptedVmm,
    private readonly driver: ScriptedDriver,
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

class ScriptedDriver implements MicrovmDriver {
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

interface AgentOptions {
  slots?: number;
  warmShells?: number;
  limits?: Partial<AgentLimits>;
  onAppend?: (when: 'before' | 'after') => void;
  noRoom?: () => string | undefined;
  /** Moves its wall clock, as an administrator does. */
  wallClockJumpsBy?: number;
  leaseHeld?: boolean;
  /** Of the machine, as the agent sees it. */
  bootId?: string;
}

/** One life of the agent on a directory of the scripted host. */
class Agent {
  readonly journal: HostJournal;
  readonly driver: ScriptedDriver;
  readonly admission: Admission;
  readonly folders: RunFolders;
  readonly slots: SlotKeeper;
  readonly manager: MicrovmManager;
  readonly context: AgentContext;
  leaseHeld = true;
  readonly fatal: Error[] = [];

  constructor(
    readonly directory: string,
    readonly host: ScriptedHost,
    options: AgentOptions = {},
  ) {
    const log = pino({ level: 'silent' });
    this.journal = HostJournal.open({
      directory: join(directory, 'data'),
      now: () => 1,
      log,
      onSyncFailure: () => undefined,
    });
    const { journal } = this;
    const appended = {
      state: journal.state,
      get noRoom(): string | undefined {
        return options.noRoom?.() ?? journal.noRoom;
      },
      append: (entry: Entry, means?: Means): void => {
        options.onAppend?.('before');
        journal.append(entry, means);
        options.onAppend?.('after');
      },
    };
    this.driver = new ScriptedDriver(host);
    this.admission = new Admission({
      slots: options.slots ?? 100,
      cpus: 50,
      memoryMiB: 100_000,
      reserveMiB: 0,
      overcommit: { cpu: 10, memory: 1 },
    });
    this.folders = new RunFolders(join(directory, 'run'));
    const clock = new WallClock();
    const pacer = new Pacer(2);
    const cgroups = {
      pathsOf: () => [],
      limit: () => undefined,
      groupOf: () => ({}),
      oomKills: ({ number }: Slot) => host.oomKills.get(number) ?? 0,
    };
    this.slots = new SlotKeeper({
      size: options.slots ?? 100,
      layout: (number) => slotOf(number, { uidBase: 200_000, pool: { base: 0x64400000, prefix: 16 } }),
      driver: this.driver,
      barriers: [],
      cgroups,
      network: Promise.resolve({ unavailable: 'a scripted host has none' }),

      warmShells: options.warmShells ?? 0,
      shellsAtOnce: 1,
      log,
    });
    this.slots.start();
    this.context = {
      chronicle: new Chronicle(appended, (error) => this.fatal.push(error)),
      driver: this.driver,
      admission: this.admission,
      folders: this.folders,
      clock,
      moment: () => ({
        wallMs: clock.now() + (options.wallClockJumpsBy ?? 0),
        monotonicMs: Number(process.hrtime.bigint()) / 1e6,
        bootId: options.bootId ?? 'boot',
      }),
      facts: new Facts(HOST, () => clock.now()),
      pacer,
      slots: this.slots,
      cgroups,
      disks: new Disks({ directory: join(directory, 'data'), log }),
      templates: new TemplateStore({
        directory: join(directory, 'data', 'templates'),
        maxBytes: 2 ** 40,
        leastFreeMiB: 0,
        log,
      }),
      workingSets: new WorkingSets(log),
      suspensions: new SnapshotFolders({ directory: join(directory, 'data', 'suspended'), leastFreeMiB: 0 }),
      platform: { kvm: 'software' },
      snapshotObstacle: (folder) => Promise.resolve(existsSync(join(folder, 'state')) ? undefined : 'there is none'),
      dns: [],
      images: {
        names: ['canary'],
        refuses: ({ image }) => (image === 'nope' ? `no image ${image}` : undefined),
        resolve: async ({ image }, signal) => {
          if (image === 'broken') throw new ImageUnavailableError('its content has another digest');
          if (image === 'slow') await new Promise((_, reject) => signal.addEventListener('abort', reject));
          return { kernelPath: '/canary', bootProtocol: 'flat', irqchip: 'split' };
        },
      },
      watcher: { began: () => undefined, ended: () => undefined },
      wakeDoors: { changed: () => undefined, suspended: () => Promise.resolve() },
      limits: { ...DEFAULT_LIMITS, bootMs: 200, controlMs: 50, killMs: 100, replaceMs: 300, ...options.limits },
      log,
    };
    this.leaseHeld = options.leaseHeld ?? true;
    this.manager = new MicrovmManager(this.context, () => this.leaseHeld);
  }

  /** SIGKILL: it does nothing any more. */
  crash(): void {
    void this.slots.stop();
    this.driver.close();
    this.context.chronicle.end();
  }

  facts(id: string): string[] {
    return [...this.journal.state.outbox.values()].filter((one) => one.microvmId === id).map(({ fact }) => fact.type);
  }

  fact(id: string, type: string) {
    const found = [...this.journal.state.outbox.values()].filter(
      (one) => one.microvmId === id && one.fact.type === type,
    );
    return found.at(-1)?.fact;
  }

  phase(id: string): string | undefined {
    return this.journal.state.incarnations.get(id)?.phase;
  }
}

let commands = 0;
const spec = (cmdline = ''): MicrovmSpec => MicrovmSpec.parse({ image: 'canary', cmdline, memoryMiB: 64 });
const start = (id: string, epoch = 1, cmdline = ''): HostCommand => ({
  type: 'start',
  commandId: `c${++commands}`,
  microvmId: id,
  epoch,
  spec: spec(cmdline),
});
const startMovable = (id: string): HostCommand =>
  ({ ...start(id), spec: { ...spec(), onHostLoss: 'reschedule' } }) as HostCommand;
const granted = (id: string, slot: number, onHostLoss: 'keep' | 'reschedule') => ({
  type: 'admitted' as const,
  microvmId: id,
  epoch: 1,
  slot,
  spec: { ...spec(), onHostLoss },
  receivedAt: Date.now(),
  admittedAt: Date.now(),
});
const order = (type: 'pause' | 'resume' | 'suspend' | 'erase' | 'verify', id: string, epoch = 1): HostCommand => ({
  type,
  commandId: `c${++commands}`,
  microvmId: id,
  epoch,
});
const restore = (id: string, epoch: number, change: Partial<MicrovmSpec> = {}): HostCommand =>
  ({ ...start(id, epoch), spec: { ...spec(), ...change }, restore: true }) as HostCommand;
const snapshot = (id: string, templateId: string, epoch = 1): HostCommand => ({
  type: 'snapshot',
  commandId: `c${++commands}`,
  microvmId: id,
  epoch,
  templateId,
});
const stop = (id: string, timeoutMs: number, epoch = 1): HostCommand => ({
  type: 'stop',
  commandId: `c${++commands}`,
  microvmId: id,
  epoch,
  timeoutMs,
});

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await tick();
  }
}

describe('microVMs of a host', () => {
  let directory: string;
  let host: ScriptedHost;
  let agent: Agent;
  const vm = idOf(1);
  const at = (id: string, phase: string | undefined) => until(() => agent.phase(id) === phase, `${id} ${phase}`);

  beforeEach(() => {
    directory = mkdtempSync(join(SCRATCH, 'volley-hostd-'));
    host = new ScriptedHost();
    agent = new Agent(directory, host);
  });
  afterEach(() => {
    agent.crash();
    expect(host.violations).toEqual([]);
    rmSync(directory, { recursive: true, force: true });
  });

  const restart = async (options?: AgentOptions): Promise<void> => {
    agent.crash();
    agent = new Agent(directory, host, options);
    await agent.manager.recover();
  };

  it('starts, pauses, resumes, stops and erases, each told by one fact', async () => {
    expect(await agent.manager.command(start(vm))).toEqual({ accepted: true });
    await at(vm, 'running');
    await agent.manager.command(order('pause', vm));
    await at(vm, 'paused');
    await agent.manager.command(order('resume', vm));
    await at(vm, 'running');
    await agent.manager.command(stop(vm, 1_000));
    await at(vm, 'ended');
    expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'powerOff' } });
    await agent.manager.command(order('erase', vm));
    await until(() => agent.facts(vm).includes('erased'), 'erased');
    expect(agent.facts(vm)).toEqual(['started', 'pausedOnHost', 'resumedOnHost', 'exited', 'erased']);
    expect(existsSync(agent.folders.pathOf(vm, 1))).toBe(false);
    expect(agent.admission.count).toBe(0);
    expect(agent.journal.state.incarnations.size).toBe(0);
  });

  describe('time to live', () => {
    const mortal = (inMs: number, cmdline = ''): HostCommand =>
      ({ ...start(vm, 1, cmdline), expiresAt: Date.now() + inMs }) as HostCommand;
    const expire = (expiresAt: number | null): HostCommand => ({
      type: 'expire',
      commandId: `c${++commands}`,
      microvmId: vm,
      epoch: 1,
      expiresAt,
    });
    const expired = { exit: { reason: 'expired', message: 'its time to live is over' } };
    const HOUR = 3_600_000;

    it('ends it, and gives its place back', async () => {
      await agent.manager.command(mortal(3_000, 'deaf'));
      await at(vm, 'ended');
      expect(agent.facts(vm)).toEqual(['started', 'exited']);
      expect(agent.fact(vm, 'exited')).toMatchObject(expired);
      expect(agent.admission.count).toBe(0);
    });

    it('ends it before its launch, when that has to wait', async () => {
      await agent.manager.command({
        ...mortal(20),
        spec: { ...spec(), image: 'slow', network: 'none' },
      } as HostCommand);
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject(expired);
      expect(host.launches).toBe(0);
    });

    it('is kept by the journal, and over when it ran out while no agent was there', async () => {
      await agent.manager.command(mortal(2_000));
      await at(vm, 'running');
      agent.crash();
      const { expiry } = agent.journal.state.incarnations.get(vm)!;
      await until(() => Date.now() > expiry!.at, 'the time is over');
      expect(host.alive()).toHaveLength(1);
      agent = new Agent(directory, host);
      await agent.manager.recover();
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject(expired);
    });

    it.each([-HOUR, HOUR])('does not follow a wall clock that jumps by %d ms', async (wallClockJumpsBy) => {
      await agent.manager.command(mortal(HOUR / 2));
      await at(vm, 'running');
      await restart({ wallClockJumpsBy });
      await agent.manager.command(order('verify', vm));
      expect(agent.phase(vm)).toBe('running');
      expect(agent.manager.liveOf(vm)!.isEnding).toBe(false);
    });

    it('can be put off for ever, and set again', async () => {
      await agent.manager.command(mortal(2_000));
      await agent.manager.command(expire(null));
      await at(vm, 'running');
      expect(agent.journal.state.incarnations.get(vm)).not.toHaveProperty('expiry');
      await restart();
      await agent.manager.command(expire(Date.now() - 1));
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject(expired);
    });

    it('set for what is not here changes nothing, and keeps nothing from starting', async () => {
      await agent.manager.command(expire(Date.now() + HOUR));
      expect(agent.facts(vm)).toEqual([]);
      expect(await agent.manager.command(start(vm))).toEqual({ accepted: true });
      await at(vm, 'running');
    });
  });

  describe('a stop for want of use', () => {
    const idle = { exit: { reason: 'idle', message: 'nobody used it' } };
    const startIdling = async (cmdline = '', stopTimeoutSeconds = 10): Promise<void> => {
      const command = start(vm, 1, cmdline) as Extract<HostCommand, { type: 'start' }>;
      await agent.manager.command({ ...command, spec: { ...command.spec, stopTimeoutSeconds } });
      await at(vm, 'running');
    };

    it('is in order, and an end of its own kind', async () => {
      await startIdling();
      agent.manager.endIdle(vm, 'nobody used it');
      expect(agent.manager.idleCandidate(vm)).toMatchObject({ isServing: false });
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject(idle);
      expect(agent.manager.idleCandidate(vm)).toBeUndefined();
    });

    it('is by force when the guest does not power off in the time of its spec', async () => {
      await startIdling('deaf', 0);
      agent.manager.endIdle(vm, 'nobody used it');
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject(idle);
    });

    it('goes on after a restart of the agent', async () => {
      await startIdling('deaf', 1);
      agent.manager.endIdle(vm, 'nobody used it');
      await restart();
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject(idle);
    });

    it('does not hide that its guest crashed meanwhile', async () => {
      await startIdling('deaf');
      agent.manager.endIdle(vm, 'nobody used it');
      host.end(host.alive()[0]!, 'panic');
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'panic' } });
    });
  });

  it('keeps tenants apart who may not share a host, also after a restart and with a record of the one that has ended', async () => {
    const startOf = (id: string, tenant: string, neverWith: string[] = []): HostCommand =>
      ({
        ...start(id),
        spec: { ...spec(), tenant },
        ...(neverWith.length > 0 ? { coresidency: { mode: 'shared', neverWith } } : {}),
      }) as HostCommand;
    await agent.manager.command(startOf(vm, 'acme', ['rival']));
    await at(vm, 'running');
    const other = idOf(2);
    const refused = { accepted: false, reason: expect.stringContaining('co-residency') as string };
    expect(await agent.manager.command(startOf(other, 'rival'))).toEqual(refused);
    expect(agent.manager.takeAnswered()).toEqual([vm, other]);
    await restart();
    expect(await agent.manager.command(startOf(other, 'rival'))).toEqual(refused);
    expect(await agent.manager.command(startOf(idOf(3), 'third'))).toEqual({ accepted: true });
    await agent.manager.command(stop(vm, 0));
    await at(vm, 'ended');
    await restart();
    expect(await agent.manager.command(startOf(other, 'rival'))).toEqual({ accepted: true });
    expect(agent.manager.takeAnswered()).toEqual([other]);
  });

  const startImage = (image: string): HostCommand =>
    ({ ...start(vm), spec: { ...spec(), image, network: 'none' } }) as HostCommand;

  it('tells why an image cannot be had, and gives the place back', async () => {
    expect(await agent.manager.command(startImage('broken'))).toEqual({ accepted: true });
    await at(vm, 'ended');
    expect(agent.fact(vm, 'exited')).toMatchObject({
      exit: { reason: 'vmmError', message: 'its content has another digest' },
    });
    expect(agent.admission.count).toBe(0);
    expect(host.launches).toBe(0);
  });

  it('does not wait for an image whose microVM is not wanted any more', async () => {
    await agent.manager.command(startImage('slow'));
    await agent.manager.command(stop(vm, 0));
    await at(vm, 'ended');
    expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
  });

  it('gives up an image that takes too long', async () => {
    await restart({ limits: { preparationMs: 5 } });
    await agent.manager.command(startImage('slow'));
    await at(vm, 'ended');
    expect(agent.fact(vm, 'exited')).toMatchObject({
      exit: { reason: 'vmmError', message: expect.stringContaining('not ready within 5 ms') as string },
    });
  });

  it('gives times of a start in the order in which they happened', async () => {
    await agent.manager.command(start(vm));
    await at(vm, 'running');
    const fact = agent.fact(vm, 'started');
    if (fact?.type !== 'started') throw new Error('not started');
    const { receivedAt, admittedAt, launchedAt, vmmEnteredAt, guestRunAt, guestBootedAt } = fact.timings;
    const times = [receivedAt, admittedAt, launchedAt, vmmEnteredAt, guestRunAt, guestBootedAt];
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(Math.abs(guestBootedAt - Date.now())).toBeLessThan(60_000);
  });

  it('keeps all orders given while it starts, in their order', async () => {
    const orders = [start(vm), order('pause', vm), order('resume', vm), order('pause', vm), order('resume', vm)];
    await Promise.all(orders.map((one) => agent.manager.command(one)));
    await until(() => agent.facts(vm).length === 5, 'five facts');
    expect(agent.facts(vm)).toEqual(['started', 'pausedOnHost', 'resumedOnHost', 'pausedOnHost', 'resumedOnHost']);
  });

  describe('repeats and fences', () => {
    it('refuses a start for which its journal has no room, holds nothing for it, and starts the next one', async () => {
      let noRoom: string | undefined = 'the disk of this host is full';
      await restart({ noRoom: () => noRoom });
      const refused = start(vm, 1);
      const answer = await agent.manager.command(refused);
      expect(answer).toEqual({ accepted: false, reason: noRoom });
      expect(agent.admission.count).toBe(0);
      expect(agent.slots.held()).toEqual([]);
      noRoom = undefined;
      expect(await agent.manager.command(refused)).toEqual(answer);
      expect(await agent.manager.command(start(vm, 2))).toEqual({ accepted: true });
    });

    it('answers a repeat of a command with its first answer', async () => {
      const refused = start(vm, 1);
      (refused as { spec: MicrovmSpec }).spec = { ...spec(), image: 'nope' };
      const answer = await agent.manager.command(refused);
      expect(answer).toEqual({ accepted: false, reason: 'no image nope' });
      expect(await agent.manager.command({ ...refused, spec: spec() } as HostCommand)).toEqual(answer);
      await restart();
      expect(await agent.manager.command({ ...refused, spec: spec() } as HostCommand)).toEqual(answer);
      expect(host.launches).toBe(0);
    });

    it('starts an incarnation once, however often it is told to', async () => {
      const first = start(vm);
      await Promise.all([first, start(vm), first, start(vm)].map((one) => agent.manager.command(one)));
      await at(vm, 'running');
      expect(await agent.manager.command(start(vm))).toEqual({ accepted: true });
      expect(host.launches).toBe(1);
    });

    it('does not start again what has ended, and tells the end again', async () => {
      await agent.manager.command(start(vm, 1, 'exit'));
      await at(vm, 'ended');
      agent.context.chronicle.record({ acked: [...agent.journal.state.outbox.keys()] });
      expect(await agent.manager.command(start(vm))).toEqual({ accepted: true });
      expect(agent.facts(vm)).toEqual(['exited']);
      expect(host.launches).toBe(1);
    });

    it('refuses a lower epoch', async () => {
      await agent.manager.command(start(vm, 3));
      await at(vm, 'running');
      for (const stale of [start(vm, 2), order('pause', vm, 2), stop(vm, 0, 1)]) {
        expect(await agent.manager.command(stale)).toMatchObject({
          accepted: false,
          reason: expect.stringContaining('epoch 3') as string,
        });
      }
      expect(agent.phase(vm)).toBe('running');
    });

    it('ends a lower epoch before it starts a higher one', async () => {
      await agent.manager.command(start(vm, 1));
      await at(vm, 'running');
      expect(await agent.manager.command(start(vm, 2))).toEqual({ accepted: true });
      await until(() => agent.phase(vm) === 'running', 'epoch 2');
      expect(agent.journal.state.incarnations.get(vm)!.epoch).toBe(2);
      expect(agent.facts(vm)).toEqual(['started', 'exited', 'started']);
      expect(host.alive()).toHaveLength(1);
      await until(() => !existsSync(agent.folders.pathOf(vm, 1)), 'the remains are removed');
    });

    it('does not start a higher epoch while the lower one will not end', async () => {
      await agent.manager.command(start(vm, 1, 'immortal'));
      await at(vm, 'running');
      await expect(agent.manager.command(start(vm, 2))).rejects.toMatchObject({ code: 'unavailable' });
      expect(host.launches).toBe(1);
      host.end(host.alive()[0]!, 'killed');
    });

    it('never starts what it said is absent, or was erased, also after a restart', async () => {
      const other = idOf(2);
      await agent.manager.command(order('verify', vm, 2));
      await agent.manager.command(order('erase', other, 1));
      expect(agent.facts(vm)).toEqual(['absent']);
      expect(agent.facts(other)).toEqual(['erased']);
      await restart();
      expect(await agent.manager.command(start(vm, 2))).toMatchObject({ accepted: false });
      expect(await agent.manager.command(start(other, 1))).toMatchObject({ accepted: false });
      expect(await agent.manager.command(start(vm, 3))).toEqual({ accepted: true });
      expect(await agent.manager.command(start(other, 2))).toEqual({ accepted: true });
    });

    it('ends a lower epoch when it hears of a higher one that is not here', async () => {
      await agent.manager.command(start(vm, 1));
      await at(vm, 'running');
      await agent.manager.command(order('verify', vm, 2));
      await at(vm, 'ended');
      expect(agent.facts(vm)).toEqual(['started', 'absent', 'exited']);
    });

    it('tells what an incarnation does', async () => {
      await agent.manager.command(start(vm));
      await at(vm, 'running');
      const question = order('verify', vm);
      await agent.manager.command(question);
      expect(agent.fact(vm, 'observed')).toMatchObject({ as: 'running', pid: host.alive()[0]!.pid });
      await agent.manager.command(order('pause', vm));
      await at(vm, 'paused');
      await agent.manager.command(question);
      expect(agent.fact(vm, 'observed')).toMatchObject({ as: 'paused' });
      agent.context.chronicle.record({ acked: [...agent.journal.state.outbox.keys()] });
      for (let i = 0; i < 3; i++) await agent.manager.command(question);
      expect(agent.facts(vm)).toEqual(['observed']);
    });
  });

  describe('admission', () => {
    it('refuses more starts than there are slots, however close together, and takes them again after an end', async () => {
      agent.crash();
      agent = new Agent(directory, host, { slots: 3 });
      const answers = await Promise.all([1, 2, 3, 4, 5].map((n) => agent.manager.command(start(idOf(n)))));
      expect(answers.filter(({ accepted }) => accepted)).toHaveLength(3);
      expect(answers[4]).toEqual({ accepted: false, reason: 'no slot free: 3 of 3 slots are in use' });
      await until(() => host.alive().length === 3, 'three run');
      host.end(host.alive()[0]!, 'panic');
      await until(() => agent.admission.count === 2, 'a slot is free');
      expect(await agent.manager.command(start(idOf(6)))).toEqual({ accepted: true });
    });

    it('launches into a shell that waits in its place, and without one when that has ended', async () => {
      await restart({ warmShells: 2 });
      await until(() => agent.slots.shells === 2, 'shells');
      await agent.manager.command(start(vm));
      await at(vm, 'running');
      expect(agent.driver.usedShells).toBe(1);
      agent.driver.shellsAreGone = true;
      await until(() => agent.slots.shells === 2, 'shells');
      await agent.manager.command(start(idOf(2)));
      await at(idOf(2), 'running');
      expect(agent.driver.usedShells).toBe(1);
    });

    it('gives each incarnation a place of its own, and remembers it', async () => {
      for (const n of [1, 2, 3]) await agent.manager.command(start(idOf(n)));
      const slotsOf = () => [...agent.journal.state.incarnations.values()].map(({ slot }) => slot);
      expect(slotsOf()).toEqual([0, 1, 2]);
      await at(idOf(3), 'running');
      await restart();
      expect(slotsOf()).toEqual([0, 1, 2]);
      await agent.manager.command(start(idOf(4)));
      expect(slotsOf()).toEqual([0, 1, 2, 3]);
    });

    it('launches no more at once than the pace allows', async () => {
      await Promise.all(Array.from({ length: 20 }, (_, n) => agent.manager.command(start(idOf(n)))));
      await until(() => host.alive().filter(({ booted }) => booted).length === 20, 'all boot');
      expect(agent.driver.mostInFlight).toBeLessThanOrEqual(2);
    });

    it('starts nothing while the lease is not held', async () => {
      agent.leaseHeld = false;
      await expect(agent.manager.command(start(vm))).rejects.toMatchObject({ code: 'unavailable' });
      agent.leaseHeld = true;
      expect(await agent.manager.command(start(vm))).toEqual({ accepted: true });
    });
  });

  describe('ends', () => {
    it('tells a launch that fails', async () => {
      await agent.manager.command(start(vm, 1, 'no-launch'));
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject({
        exit: {
          reason: 'vmmError',
          message: expect.stringMatching(
            /^the VMM could not be launched: no memory for it; the host has no memory/,
          ) as string,
        },
      });
      expect(agent.admission.count).toBe(0);
    });

    it('kills a guest that does not boot in time', async () => {
      await agent.manager.command(start(vm, 1, 'no-boot'));
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject({
        exit: { reason: 'vmmError', message: 'the guest did not report that it had booted within 200 ms' },
      });
      expect(agent.facts(vm)).toEqual(['exited']);
    });

    it('tells boot and end of a guest that does both at once', async () => {
      await agent.manager.command(start(vm, 1, 'exit'));
      await at(vm, 'ended');
      expect(agent.facts(vm)).toEqual(['started', 'exited']);
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'powerOff' } });
    });

    it('tells a VMM that the kernel killed for memory from one that somebody killed', async () => {
      await agent.manager.command(start(vm));
      await at(vm, 'running');
      const slot = agent.journal.state.incarnations.get(vm)!.slot!;
      host.oomKills.set(slot, 1);
      host.end(host.alive()[0]!, 'killed');
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'outOfMemory' } });
      // The next one in this place is not blamed for it, also after a restart.
      const next = idOf(2);
      await agent.manager.command(start(next));
      await at(next, 'running');
      expect(agent.journal.state.incarnations.get(next)!.slot).toBe(slot);
      await restart();
      host.end(host.alive()[0]!, 'killed');
      await at(next, 'ended');
      expect(agent.fact(next, 'exited')).toMatchObject({ exit: { reason: 'killed' } });
    });

    it('tells a VMM that was killed from outside', async () => {
      await agent.manager.command(start(vm));
      await at(vm, 'running');
      host.end(host.alive()[0]!, 'killed');
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'killed' } });
    });

    it('kills a guest that ignores the power button when its time is over, or when told to hurry', async () => {
      const other = idOf(2);
      for (const id of [vm, other]) await agent.manager.command(start(id, 1, 'deaf'));
      await at(vm, 'running');
      await at(other, 'running');
      await agent.manager.command(stop(vm, 50));
      await agent.manager.command(stop(other, 60_000));
      await at(vm, 'ended');
      expect(agent.phase(other)).toBe('running');
      await agent.manager.command(stop(other, 0));
      await at(other, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
      expect(agent.fact(other, 'exited')).toMatchObject({
        exit: { reason: 'requested', message: 'killed on request' },
      });
    });

    it('wakes a paused guest to power it off', async () => {
      await agent.manager.command(start(vm));
      await agent.manager.command(order('pause', vm));
      await at(vm, 'paused');
      await agent.manager.command(stop(vm, 2_000));
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'powerOff' } });
    });

    it('cancels a launch that waits for its turn', async () => {
      for (const n of [1, 2]) await agent.manager.command(start(idOf(n), 1, 'no-boot'));
      const third = idOf(3);
      await agent.manager.command(start(third));
      await agent.manager.command(stop(third, 0));
      await at(third, 'ended');
      expect(host.vmms.size).toBeLessThanOrEqual(2);
      expect(agent.fact(third, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
    });

    it.each(['erase', 'stop'] as const)(
      'lets no process behind when %s comes while a launch is under way',
      async (type) => {
        await agent.manager.command(start(vm, 1, 'slow-launch'));
        await tick();
        await agent.manager.command(type === 'erase' ? order('erase', vm) : stop(vm, 0));
        const last = type === 'erase' ? 'erased' : 'exited';
        await until(() => agent.facts(vm).includes(last), last);
        expect(host.launches).toBe(1);
        expect(host.alive()).toEqual([]);
        expect(agent.admission.count).toBe(0);
      },
    );

    it('reports a pause that is refused or not answered, and goes on', async () => {
      const other = idOf(2);
      await agent.manager.command(start(vm, 1, 'mute'));
      await agent.manager.command(start(other, 1, 'no-pause'));
      for (const id of [vm, other]) {
        await agent.manager.command(order('pause', id));
        await until(() => agent.facts(id).includes('commandFailed'), 'failed');
        await agent.manager.command(stop(id, 1_000));
        await at(id, 'ended');
      }
      expect(agent.fact(vm, 'commandFailed')).toMatchObject({ command: 'pause', reason: 'no answer within 50 ms' });
      expect(agent.fact(other, 'commandFailed')).toMatchObject({ command: 'pause', reason: 'the VMM refused' });
    });

    it('says that a process does not end, keeps its slot, and frees it when it does', async () => {
      await agent.manager.command(start(vm, 1, 'immortal'));
      await at(vm, 'running');
      await agent.manager.command(stop(vm, 0));
      await until(() => agent.facts(vm).includes('commandFailed'), 'said');
      expect(agent.admission.count).toBe(1);
      host.end(host.alive()[0]!, 'killed');
      await at(vm, 'ended');
      expect(agent.admission.count).toBe(0);
    });

    it('fences those that may move, and no others', async () => {
      const keep = idOf(2);
      await agent.manager.command(startMovable(vm));
      await agent.manager.command(start(keep));
      await at(vm, 'running');
      await at(keep, 'running');
      const ends = agent.manager.fence();
      expect(ends).toHaveLength(1);
      await ends[0];
      expect(agent.phase(vm)).toBe('ended');
      expect(agent.phase(keep)).toBe('running');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'fenced' } });
    });

    it('ends those that may move, and no others, when it comes back after the end of its lease', async () => {
      const keep = idOf(2);
      await agent.manager.command(startMovable(vm));
      await agent.manager.command(start(keep));
      await at(vm, 'running');
      await at(keep, 'running');
      await restart({ leaseHeld: false });
      await at(vm, 'ended');
      expect(agent.phase(keep)).toBe('running');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'fenced' } });
      expect(host.alive()).toHaveLength(1);
    });

    it('does not launch what was granted before its lease ended and may run elsewhere by now', async () => {
      const keep = idOf(2);
      agent.crash();
      agent = new Agent(directory, host);
      // Killed between the record of the grant and the launch.
      agent.context.chronicle.record({ change: granted(vm, 0, 'reschedule') });
      agent.context.chronicle.record({ change: granted(keep, 1, 'keep') });
      await restart({ leaseHeld: false });
      await at(vm, 'ended');
      await at(keep, 'running');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'fenced' } });
      expect(host.launches).toBe(1);
    });

    it('leaves alone what may move while the lease is held', async () => {
      await agent.manager.command(startMovable(vm));
      await at(vm, 'running');
      await restart();
      expect(agent.manager.liveOf(vm)!.doing).toBe('running');
    });

    it('says that the machine was restarted under those that were running', async () => {
      const [keep, over] = [idOf(2), idOf(3)];
      await agent.manager.command(startMovable(vm));
      await agent.manager.command(start(keep));
      await agent.manager.command(start(over, 1, 'exit'));
      for (const [id, phase] of [
        [vm, 'running'],
        [keep, 'running'],
        [over, 'ended'],
      ] as const)
        await at(id, phase);
      agent.crash();
      for (const one of host.alive()) host.end(one, 'lost');
      agent = new Agent(directory, host, { bootId: 'next boot' });
      await agent.manager.recover();
      await at(vm, 'ended');
      await at(keep, 'ended');
      for (const id of [vm, keep]) {
        expect(agent.fact(id, 'exited')).toMatchObject({ exit: { reason: 'hostRestarted' } });
      }
      expect(agent.fact(over, 'exited')).toMatchObject({ exit: { reason: 'powerOff' } });
    });

    it('keeps the remains of a bounded number that nobody erases', async () => {
      agent.crash();
      agent = new Agent(directory, host, { limits: { endedKept: 2 } });
      for (let n = 1; n <= 5; n++) {
        await agent.manager.command(start(idOf(n), 1, 'exit'));
        await at(idOf(n), 'ended');
        agent.context.chronicle.record({ acked: [...agent.journal.state.outbox.keys()] });
      }
      await agent.manager.command(start(idOf(6), 1, 'exit'));
      await until(() => agent.journal.state.incarnations.size <= 3, 'old ones are dropped');
      expect(await agent.manager.command(start(idOf(1)))).toMatchObject({ accepted: false });
    });
  });

  describe('restart', () => {
    it('adopts what runs: same process', async () => {
      for (const n of [1, 2, 3]) await agent.manager.command(start(idOf(n)));
      await until(() => host.alive().filter(({ booted }) => booted).length === 3, 'all run');
      for (const n of [1, 2, 3]) await at(idOf(n), 'running');
      const before = agent.manager.inventory();
      await restart();
      expect(agent.manager.inventory()).toEqual(before);
      expect(agent.admission.count).toBe(3);
      expect(host.launches).toBe(3);
      await agent.manager.command(stop(idOf(2), 1_000));
      await at(idOf(2), 'ended');
    });

    it('tells the end of what ended meanwhile', async () => {
      await agent.manager.command(start(vm));
      await at(vm, 'running');
      agent.crash();
      host.end(host.alive()[0]!, 'panic', 'the guest panicked');
      await restart();
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'panic', message: 'the guest panicked' } });
      expect(agent.admission.count).toBe(0);
    });

    it('goes on waiting for a guest that ignores the power button', async () => {
      await agent.manager.command(start(vm, 1, 'deaf'));
      await at(vm, 'running');
      await agent.manager.command(stop(vm, 100));
      await restart();
      await at(vm, 'ended');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
    });
  });

  describe('suspended', () => {
    const suspended = async (words = ''): Promise<void> => {
      await agent.manager.command(start(vm, 1, words));
      await at(vm, 'running');
      await agent.manager.command(order('suspend', vm));
      await at(vm, 'suspended');
      await until(() => host.alive().length === 0, 'its process has ended');
    };
    const memory = (): string => agent.context.suspensions.pathOf(vm);

    it('gives its place back, keeps its memory, and goes on from there as the next incarnation', async () => {
      await suspended();
      expect(agent.fact(vm, 'suspended')).toMatchObject({ epoch: 1, bytes: 4_096, pauseMs: 2 });
      expect(agent.facts(vm)).not.toContain('exited');
      expect([agent.admission.count, agent.slots.held()]).toEqual([0, []]);
      expect(agent.manager.inventory()).toEqual([{ microvmId: vm, epoch: 1, as: 'suspended' }]);
      expect(await agent.manager.command(restore(vm, 2))).toEqual({ accepted: true });
      await at(vm, 'running');
      expect(host.alive()[0]?.restoredFrom).toBe(memory());
      await until(() => !existsSync(memory()), 'the file of its memory is gone');
      expect(agent.fact(vm, 'started')).toMatchObject({ epoch: 2 });
      expect([agent.admission.count, agent.slots.held().length]).toEqual([1, 1]);
      expect(existsSync(agent.folders.pathOf(vm, 1))).toBe(false);
    });

    it('at once asked to go on waits for the end of its own process', async () => {
      await agent.manager.command(start(vm));
      await at(vm, 'running');
      await agent.manager.command(order('suspend', vm));
      await at(vm, 'suspended');
      expect(await agent.manager.command(restore(vm, 2))).toEqual({ accepted: true });
      await at(vm, 'running');
      expect(host.alive()).toHaveLength(1);
    });

    it('asked for by two at once is done once, and keeps its memory', async () => {
      await agent.manager.command(start(vm));
      await at(vm, 'running');
      await Promise.all([1, 2].map(() => agent.manager.command(order('suspend', vm))));
      await at(vm, 'suspended');
      expect(await agent.manager.command(restore(vm, 2))).toEqual({ accepted: true });
      await at(vm, 'running');
      expect(host.alive()[0]?.restoredFrom).toBe(memory());
      expect(agent.facts(vm)).toEqual(['started', 'suspended', 'started']);
    });

    it('stays when there is no room for it, also under the epoch that was to go on', async () => {
      await suspended();
      agent.crash();
      agent = new Agent(directory, host, { slots: 1 });
      await agent.manager.recover();
      await agent.manager.command(start(idOf(2)));
      expect(await agent.manager.command(restore(vm, 2))).toMatchObject({ accepted: false });
      expect(agent.manager.inventory()).toContainEqual({ microvmId: vm, epoch: 2, as: 'suspended' });
      await agent.manager.command(order('verify', vm, 3));
      expect(agent.fact(vm, 'observed')).toMatchObject({ epoch: 3, as: 'suspended' });
      expect(existsSync(memory())).toBe(true);
    });

    it('outlives its agent and the machine', async () => {
      await suspended();
      await restart({ bootId: 'another' });
      expect(agent.manager.inventory()).toEqual([{ microvmId: vm, epoch: 1, as: 'suspended' }]);
      await agent.manager.command(restore(vm, 2));
      await at(vm, 'running');
    });

    it('ends when it is stopped, started afresh or erased, and leaves nothing', async () => {
      await suspended();
      await agent.manager.command(stop(vm, 1_000));
      await at(vm, 'ended');
      await until(() => !existsSync(memory()), 'its memory is gone');
      expect(agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
      await agent.manager.command(start(vm, 2));
      await at(vm, 'running');
      await agent.manager.command(order('suspend', vm, 2));
      await at(vm, 'suspended');
      await agent.manager.command(start(vm, 3));
      await at(vm, 'running');
      expect(host.alive()[0]?.restoredFrom).toBeUndefined();
      await agent.manager.command(order('suspend', vm, 3));
      await at(vm, 'suspended');
      await agent.manager.command(order('erase', vm, 3));
      await until(() => agent.facts(vm).includes('erased'), 'erased');
      expect(existsSync(memory())).toBe(false);
      expect(agent.journal.state.incarnations.size).toBe(0);
    });

    it('runs on, with the reason, when its memory cannot be written', async () => {
      await agent.manager.command(start(vm, 1, 'no-snapshot'));
      await at(vm, 'running');
      await agent.manager.command(order('suspend', vm));
      await until(() => agent.facts(vm).includes('commandFailed'), 'told');
      expect(agent.fact(vm, 'commandFailed')).toMatchObject({ command: 'suspend', reason: 'its disk is full' });
      expect([agent.phase(vm), host.alive()[0]?.paused]).toEqual(['running', false]);
      expect(agent.context.suspensions.list()).toEqual([]);
    });

    it('for want of use says so', async () => {
      const idle = { ...spec(), idleStop: { afterSeconds: 5, cpuPercent: 1, action: 'suspend' as const } };
      await agent.manager.command({ ...start(vm), spec: idle } as HostCommand);
      await at(vm, 'running');
      agent.manager.endIdle(vm, 'suspended because nobody used it');
      await at(vm, 'suspended');
      expect(agent.fact(vm, 'suspended')).toMatchObject({ reason: 'suspended because nobody used it' });
    });

    it('is absent where nothing of it is', async () => {
      await agent.manager.command(restore(vm, 2));
      expect(agent.fact(vm, 'absent')).toMatchObject({ epoch: 2 });
    });
  });

  describe('templates', () => {
    const template = idOf(90);
    const made = async (words = ''): Promise<void> => {
      await agent.manager.command(start(vm, 1, words));
      await at(vm, 'running');
      await agent.manager.command(snapshot(vm, template));
    };
    const taken = () => until(() => agent.facts(vm).includes('snapshotTaken'), 'taken');
    const clone = (n: number, digest = agent.context.templates.get(template)!.digest): HostCommand =>
      ({ ...start(idOf(n)), spec: { ...spec(), template: `${template}@${digest}` } }) as HostCommand;

    it('are made of what runs, which goes on; clones start from them', async () => {
      await made();
      await taken();
      const held = agent.context.templates.get(template)!;
      expect(agent.fact(vm, 'snapshotTaken')).toMatchObject({
        templateId: template,
        digest: held.digest,
        as: 'running',
        pauseMs: 2,
        copy: { tracking: 'manual', converged: true, roundBytes: [4_096, 0] },
      });
      expect(host.alive()[0]?.paused).toBe(false);
      for (const n of [2, 3]) await agent.manager.command(clone(n));
      for (const n of [2, 3]) await at(idOf(n), 'running');
      expect(host.alive().map(({ restoredFrom }) => restoredFrom)).toEqual([undefined, held.folder, held.folder]);
    });

    it('leave what was paused as it was', async () => {
      await agent.manager.command(start(vm));
      await at(vm, 'running');
      await agent.manager.command(order('pause', vm));
      await agent.manager.command(snapshot(vm, template));
      await taken();
      expect(agent.fact(vm, 'snapshotTaken')).toMatchObject({ as: 'paused' });
      expect(host.alive()[0]?.paused).toBe(true);
    });

    it('are there whole or not at all when the agent ends meanwhile; the next one makes them', async () => {
      await made();
      await until(() => host.alive()[0]!.paused, 'it stands still for its snapshot');
      await restart();
      await taken();
      expect(host.alive()[0]?.paused).toBe(false);
      expect(readdirSync(join(directory, 'data', 'templates', 'drafts'))).toEqual([]);
    });

    it('that cannot be written leave nothing, and their source runs', async () => {
      await made('no-snapshot');
      await until(() => agent.facts(vm).includes('commandFailed'), 'told');
      expect(agent.fact(vm, 'commandFailed')).toMatchObject({ command: 'snapshot' });
      expect([agent.context.templates.list(), host.alive()[0]?.paused]).toEqual([[], false]);
      expect(readdirSync(join(directory, 'data', 'templates', 'drafts'))).toEqual([]);
    });

    it('outlive their agent; one that is damaged is given up, with the reason, and others go on', async () => {
      await made();
      await taken();
      await restart();
      await agent.manager.command(clone(2));
      await at(idOf(2), 'running');
      const { folder, digest } = agent.context.templates.get(template)!;
      chmodSync(join(folder, 'memory'), 0o600);
      writeFileSync(join(folder, 'memory'), 'damage', { flag: 'r+' });
      await agent.manager.command(clone(3));
      await at(idOf(3), 'ended');
      expect(agent.fact(idOf(3), 'exited')).toMatchObject({
        exit: { message: expect.stringContaining('its file memory is not as it was written') as string },
      });
      expect(agent.context.templates.list()).toEqual([]);
      await agent.manager.command(clone(4, digest));
      await at(idOf(4), 'ended');
      expect(agent.fact(idOf(4), 'exited')).toMatchObject({
        exit: { message: expect.stringContaining('is not on this host') as string },
      });
      expect([agent.phase(vm), agent.phase(idOf(2))]).toEqual(['running', 'running']);
    });
  });

  it('gives up for good when it cannot write down what happened', async () => {
    await agent.manager.command(start(vm));
    await at(vm, 'running');
    await agent.journal.close();
    await expect(agent.manager.command(start(idOf(2)))).rejects.toMatchObject({ code: 'unavailable' });
    expect(agent.admission.count).toBe(1);
    host.end(host.alive()[0]!, 'panic');
    await until(() => agent.fatal.length === 1, 'fatal');
  });
});

describe('a crash at any moment', () => {
  /** What a crash leaves: the journal so far, and the processes and folders of the host. */
  interface Leftover {
    what: string;
    journal: Buffer;
    host: ScriptedHost;
    folders: string[];
    /** Files of snapshots, by their path in the host directory. */
    snapshots: Map<string, Buffer>;
    commands: HostCommand[];
  }

  const ids = [1, 2, 3, 4].map(idOf);
  const words = fc.constantFrom('', 'exit', 'no-launch', 'deaf', 'no-pause', 'no-boot');
  const anyOrder = fc.record({
    n: fc.nat(3),
    epoch: fc.integer({ min: 1, max: 2 }),
    type: fc.constantFrom(
      'start',
      'start',
      'pause',
      'resume',
      'suspend',
      'restore',
      'snapshot',
      'stop',
      'kill',
      'erase',
      'verify',
      'outside',
    ) as fc.Arbitrary<string>,
    words,
    wait: fc.nat(6),
  });

  interface Step {
    n: number;
    epoch: number;
    type: string;
    words: string;
    wait: number;
  }

  const ofOne = (...orders: [type: string, epoch: number][]): Step[] =>
    orders.map(([type, epoch]) => ({ n: 0, epoch, type, words: '', wait: 40 }));

  const commandOf = (step: Step): HostCommand => {
    const id = ids[step.n]!;
    if (step.type === 'start') return start(id, step.epoch, step.words);
    if (step.type === 'stop') return stop(id, 20, step.epoch);
    if (step.type === 'kill') return stop(id, 0, step.epoch);
    if (step.type === 'restore') return restore(id, step.epoch + 1);
    if (step.type === 'snapshot') return snapshot(id, idOf(90 + step.n), step.epoch);
    return order(step.type as 'pause' | 'resume' | 'suspend' | 'erase' | 'verify', id, step.epoch);
  };

  function snapshotsIn(data: string): Map<string, Buffer> {
    const files = new Map<string, Buffer>();
    for (const kind of ['templates', 'suspended']) {
      for (const entry of readdirSync(join(data, kind), { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if (entry.isFile()) files.set(relative(data, path), readFileSync(path));
      }
    }
    return files;
  }

  const limits = { bootMs: 40, controlMs: 20, killMs: 100, replaceMs: 300 };

  /** Runs the steps and photographs what a crash would leave before and after every record and every change of a process. */
  async function photograph(root: string, steps: Step[]): Promise<Leftover[]> {
    const host = new ScriptedHost();
    const photos: Leftover[] = [];
    const sent: HostCommand[] = [];
    const journalPath = join(root, 'data', 'journal');
    const take = (what: string): void => {
      photos.push({
        what: `${photos.length}: ${what}`,
        journal: readFileSync(journalPath),
        host: host.copy((directory) => directory),
        folders: agent.folders.list().map(({ path }) => path),
        snapshots: snapshotsIn(join(root, 'data')),
        commands: [...sent],
      });
    };
    const agent: Agent = new Agent(root, host, { limits, onAppend: (when) => take(`${when} a record`) });
    host.onChange = () => take('a process changed');
    for (const step of steps) {
      if (step.type === 'outside') {
        const vmm = host.alive()[0];
        if (vmm) host.end(vmm, 'killed');
      } else {
        const command = commandOf(step);
        sent.push(command);
        await agent.manager.command(command).catch(() => undefined);
      }
      for (let i = 0; i < step.wait; i++) await tick();
    }
    agent.crash();
    take('the end');
    return photos;
  }

  /** Restarts an agent on what was left, sends everything again, and checks what must hold. */
  async function goOn(photo: Leftover): Promise<void> {
    const root = mkdtempSync(join(SCRATCH, 'volley-crash-'));
    const move = (directory: string): string => join(root, 'run', basename(directory));
    mkdirSync(join(root, 'data'), { recursive: true });
    writeFileSync(join(root, 'data', 'journal'), Buffer.from(photo.journal.toString('utf8')));
    const host = photo.host.copy(move);
    for (const folder of photo.folders) mkdirSync(move(folder), { recursive: true });
    for (const [path, content] of photo.snapshots) {
      mkdirSync(dirname(join(root, 'data', path)), { recursive: true });
      writeFileSync(join(root, 'data', path), content);
    }
    for (const vmm of host.vmms.values()) if (existsSync(vmm.directory)) leavePages(vmm.directory, vmm.pid);
    const agent = new Agent(root, host, { limits });
    // The journal remembers where folders were; here they were moved.
    for (const record of agent.journal.state.incarnations.values()) {
      if (record.identity) record.identity = { ...record.identity, directory: move(record.identity.directory) };
    }
    try {
      await agent.manager.recover();
      await reclaimOrphans({
        state: agent.journal.state,
        folders: agent.folders,
        log: agent.context.log,
        vmms: () =>
          host.alive().map(({ pid, startTicks, id, directory }) => ({ pid, startTicks, microvmId: id, directory })),
        kill: (pid) => host.end(host.vmms.get(pid)!, 'killed'),
      });
      for (const command of photo.commands) await agent.manager.command(command).catch(() => undefined);
      await settled(agent);
      check(agent, host);
    } catch (error) {
      throw new Error(`crash at ${photo.what}: ${(error as Error).message}`, { cause: error });
    } finally {
      agent.crash();
      rmSync(root, { recursive: true, force: true });
    }
  }

  async function settled(agent: Agent): Promise<void> {
    const isSettled = (): boolean => {
      const { incarnations } = agent.journal.state;
      // Removed in the background.
      const drafts = ['templates', 'suspended'].flatMap((kind) =>
        readdirSync(join(agent.directory, 'data', kind, 'drafts')),
      );
      const isSuspended = (id: string): boolean => incarnations.get(id)?.phase === 'suspended';
      if (drafts.length > 0 || agent.folders.list().some(({ microvmId }) => isSuspended(microvmId))) return false;
      if (agent.context.suspensions.list().some((id) => !isSuspended(id))) return false;
      return [...incarnations.values()].every(
        ({ phase, pending, erasing }) =>
          erasing === undefined &&
          (phase === 'ended' || (['running', 'paused', 'suspended'].includes(phase) && pending.length === 0)),
      );
    };
    for (let waited = 0; !isSettled(); waited++) {
      if (waited > 2_000) throw new Error('never settled');
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  function check(agent: Agent, host: ScriptedHost): void {
    const { incarnations, outbox } = agent.journal.state;
    expect(host.violations).toEqual([]);
    const alive = [...incarnations.values()].filter(holdsPlace);
    // no orphan, nothing lost: the processes are exactly those on record
    expect(
      host
        .alive()
        .map(({ pid }) => pid)
        .sort(),
    ).toEqual(alive.map(({ identity }) => identity?.pid).sort());
    expect(agent.admission.count).toBe(alive.length);
    const told = [...outbox.values()].map(
      ({ microvmId, fact }) => `${microvmId} ${'epoch' in fact ? fact.epoch : ''} ${fact.type}`,
    );
    for (const { microvmId, epoch, phase } of incarnations.values()) {
      if (phase === 'ended') expect(told).toContain(`${microvmId} ${epoch} exited`);
      else if (phase === 'suspended') expect(agent.context.suspensions.list()).toContain(microvmId);
      else expect(told).toContain(`${microvmId} ${epoch} started`);
    }
    // snapshots are whole, and those of microVMs are of those that are suspended
    for (const kind of ['templates', 'suspended']) {
      expect(readdirSync(join(agent.directory, 'data', kind, 'drafts'))).toEqual([]);
    }
    // every folder is owned
    const owned = [...incarnations.values()].map(({ microvmId, epoch }) => agent.folders.pathOf(microvmId, epoch));
    for (const { path } of agent.folders.list()) expect(owned).toContain(path);
  }

  it('runs nothing twice, orphans nothing and loses no end', async () => {
    let crashes = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyOrder, { minLength: 1, maxLength: 8 }), async (steps) => {
        const root = mkdtempSync(join(SCRATCH, 'volley-photo-'));
        try {
          const photos = await photograph(root, steps);
          crashes += photos.length;
          // They wait more than they work.
          for (let i = 0; i < photos.length; i += 16) await Promise.all(photos.slice(i, i + 16).map(goOn));
        } finally {
          rmSync(root, { recursive: true, force: true });
        }
      }),
      {
        // Chance seldom suspends what runs and lets it go on.
        examples: [
          [ofOne(['start', 1], ['snapshot', 1], ['suspend', 1], ['restore', 1], ['suspend', 2], ['erase', 2])],
          [ofOne(['start', 1], ['pause', 1], ['suspend', 1], ['restore', 1], ['snapshot', 2])],
          [ofOne(['start', 1], ['suspend', 1], ['verify', 2], ['stop', 2], ['start', 2])],
        ],
        numRuns: 40,
        endOnFailure: true,
        interruptAfterTimeLimit: 60_000,
      },
    );
    expect(crashes).toBeGreaterThan(100);
  }, 120_000);
});
