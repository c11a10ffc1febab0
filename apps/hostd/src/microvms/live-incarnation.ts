import type { Logger } from 'pino';
import type { Permit } from '#concurrency';
import { VmmGoneError, type ExitReport, type MicrovmProcess, type VmmIdentity } from '#microvm';
import { classOf, wantedDevices, type Exit, type GuestNetwork, type StartTimings } from '#protocol';
import { deviceReadingOf } from '../density/device-reading';
import type { RunNews } from '../density/run-news';
import { takeFirstWhenOutOfMemory } from '../guards/oom-preference';
import type { IncarnationRecord, OutboxFact, PendingCommand } from '../journal/host-record';
import type { AgentContext } from './agent-context';
import { templateOf } from '../templates/template-of';
import { abortable, within } from './deadline';
import { exitOf, HOST_RESTARTED, type EndCause } from './exits';
import { msUntil } from './expiry';
import { programEnd } from './guest-report';
import { guestIdentity } from './launch-plan';
import { withRemedy } from './launch-remedy';
import { agentOf, tellRestored } from './linux-guest';
import { prepareLaunch, type PreparedLaunch } from './prepared-launch';
import { UnadoptedProcess } from './unadopted-process';

/** For the agent to take over where its guest was reached, ms. */
const DOOR_MS = 1_000;
/** Longest delay that a timer takes. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Aborts the wait for a place in the queue of launches. Made once: nobody reads it, and a stack trace for each end costs. */
const CANCELLED = new Error('cancelled');

/**
 * One incarnation that is granted and has not ended: carries out what is asked of it and writes down what becomes of it.
 * Its jobs (launch, pause, resume, power button) are run one after another by the owner; {@link end} cuts in at any time.
 */
export class LiveIncarnation {
  /** Resolves when the end is written down and the place given back. */
  readonly ended: Promise<void>;
  #process: MicrovmProcess | undefined;
  #cause: EndCause | undefined;
  #over = false;
  #suspended = false;
  #resolveEnded!: () => void;
  #killTimer: NodeJS.Timeout | undefined;
  #killAt = Infinity;
  #insistTimer: NodeJS.Timeout | undefined;
  #stopCommandId: string | undefined;
  #idle: string | undefined;
  #expiryTimer: NodeJS.Timeout | undefined;
  readonly #cancel = new AbortController();
  readonly #log: Logger;

  constructor(
    private readonly context: AgentContext,
    /** Lives in the folded journal: always as of now. */
    readonly record: Readonly<IncarnationRecord>,
  ) {
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    this.#log = context.log.child({ microvmId: record.microvmId, epoch: record.epoch });
    this.watchExpiry();
  }

  /** Ends it when its time to live is over. To be called again when that was changed. */
  watchExpiry(): void {
    clearTimeout(this.#expiryTimer);
    const { expiry } = this.record;
    if (!expiry || this.#over) return;
    const leftMs = msUntil(expiry, this.context.moment());
    if (leftMs <= 0) return this.end({ reason: 'expired', message: 'its time to live is over' });
    this.#expiryTimer = setTimeout(() => this.watchExpiry(), Math.min(TIMER_MAX_MS, Math.ceil(leftMs)));
    this.#expiryTimer.unref();
  }

  /** Whether it has been asked to end, or told to. */
  get isEnding(): boolean {
    return this.#over || this.#cause !== undefined || this.#stopCommandId !== undefined;
  }

  /** Whether its end is written down. */
  get isOver(): boolean {
    return this.#over;
  }

  get process(): MicrovmProcess | undefined {
    return this.#process;
  }

  /** What it does now, asked of the VMM's own page where there is one. */
  get doing(): 'starting' | 'running' | 'paused' {
    const { phase } = this.record;
    if (phase !== 'running' && phase !== 'paused') return 'starting';
    try {
      const { state } = this.#process!.stats();
      return state === 'paused' || state === 'running' ? state : phase;
    } catch {
      return phase;
    }
  }

  /**
   * Gets ready what it needs, waits for its turn, starts the process and sees it booted. Never rejects. `turn`: it has waited before; it is
   * given back while the preparation takes long, as the download of an image does, so that nobody waits for that.
   */
  async launch(turn?: Permit): Promise<void> {
    let permit = turn;
    const lend = turn && setTimeout(() => (turn(), (permit = undefined)), this.context.limits.preparationHoldMs);
    const prepared = await this.#prepare();
    clearTimeout(lend);
    if (!prepared) return permit?.();
    try {
      permit ??= await this.context.pacer.acquire(this.#cancel.signal);
    } catch {
      return this.#finishCancelled();
    }
    try {
      if (this.#cause) return this.#finishCancelled();
      const process = await this.#startProcess(prepared);
      if (process) await this.#seeBooted(process, this.context.limits.bootMs, permit);
    } finally {
      permit();
    }
  }

  /** Everything that may take its time: the image, disks, the place. Nothing is launched meanwhile, and nobody waits for it. */
  async #prepare(): Promise<PreparedLaunch | undefined> {
    const { limits } = this.context;
    const { signal } = this.#cancel;
    const message = `what it needs was not ready within ${limits.preparationMs} ms`;
    const timer = setTimeout(() => this.end({ reason: 'vmmError', message }), limits.preparationMs);
    try {
      return await abortable(prepareLaunch(this.context, this.record, signal), signal);
    } catch (error) {
      if (this.#cause) {
        this.#finishCancelled();
      } else {
        this.#log.warn({ err: error as Error }, 'a launch could not be prepared');
        this.#finishWithoutProcess({ reason: 'vmmError', message: withRemedy(error) });
      }
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  #finishCancelled(): void {
    this.#finishWithoutProcess(this.#cause ?? { reason: 'requested', message: 'cancelled before its launch' });
  }

  async #startProcess(prepared: PreparedLaunch): Promise<MicrovmProcess | undefined> {
    const { folders, chronicle, limits } = this.context;
    const { microvmId, epoch } = this.record;
    let process: MicrovmProcess;
    let oomKills: number | undefined;
    try {
      oomKills = prepared.limit();
      const launching = prepared.launch(folders.create(microvmId, epoch, this.record.spec));
      const late = await within(launching, limits.bootMs, 'late');
      if (late === 'late') {
        // It may still come to be, so it is not over: it is ended as soon as it is there.
        this.#log.error({ ms: limits.bootMs }, 'a launch does not return');
        this.end({ reason: 'vmmError', message: `the VMM was not launched within ${limits.bootMs} ms` });
      }
      process = await launching;
    } catch (error) {
      const cause: EndCause = {
        reason: 'vmmError',
        message: `the VMM could not be launched: ${withRemedy(error)}`,
      };
      this.#log.warn({ err: error as Error }, 'launch failed');
      this.#finishWithoutProcess(this.#cause ?? cause);
      return undefined;
    }
    // A refusal to write means that the agent is ending: the next one finds the process by its folder.
    const known = oomKills ? { oomKills } : {};
    if (!chronicle.record({ change: { type: 'launched', microvmId, epoch, identity: process.identity, ...known } }))
      return undefined;
    this.#attach(process);
    return process;
  }

  /**
   * Takes over the process that an earlier agent launched, dead or alive. Resolves when it is watched, or its end is written down;
   * a boot that is not over is for {@link finishBoot} to wait for.
   */
  async adopt(identity: VmmIdentity): Promise<void> {
    const { driver, limits, moment } = this.context;
    if (identity.bootId !== moment().bootId) this.#cause ??= HOST_RESTARTED;
    const adopting = driver.adopt(this.record.microvmId, identity);
    let process: MicrovmProcess;
    try {
      const adopted = await within(adopting, limits.adoptMs, undefined);
      if (!adopted) {
        void adopting.then((late) => late.release()).catch(() => undefined);
        throw new Error(`no answer within ${limits.adoptMs} ms`);
      }
      process = adopted;
    } catch (error) {
      if (error instanceof VmmGoneError) return this.#finish(error.report);
      // It may be healthy: it goes on, is watched and can be ended, but not paused.
      this.#log.error(
        { err: error as Error, pid: identity.pid },
        'a VMM could not be adopted; it is only watched from now on',
      );
      process = new UnadoptedProcess(this.record.microvmId, identity, (error as Error).message);
    }
    this.#attach(process);
    if (this.record.phase === 'running' || this.record.phase === 'paused') this.#watch(process);
  }

  /** Sees an adopted process booted, when it had not booted before. Never rejects. */
  async finishBoot(): Promise<void> {
    const process = this.#process;
    if (!process || this.#over || this.record.phase !== 'launched') return;
    let elapsedMs = 0;
    try {
      const { launchedNs } = process.stats();
      if (launchedNs > 0n) elapsedMs = this.context.clock.now() - this.context.clock.ofMonotonic(launchedNs);
    } catch {
      elapsedMs = 0;
    }
    await this.#seeBooted(process, Math.max(1_000, this.context.limits.bootMs - elapsedMs), () => undefined);
  }

  #attach(process: MicrovmProcess): void {
    this.#process = process;
    if (classOf(this.record.spec) === 'bestEffort') {
      const failure = takeFirstWhenOutOfMemory(process.identity.pid);
      if (failure !== undefined) this.#log.warn({ reason: failure }, 'the kernel may take others before this one');
    }
    this.#nameGuestSocket(process);
    void process.exited.then((report) => this.#finish(report));
    if (this.#cause) this.#kill();
  }

  #nameGuestSocket({ identity }: MicrovmProcess): void {
    const { microvmId, spec } = this.record;
    if (!wantedDevices(spec).vsock) return;
    try {
      this.context.folders.guestSockets.leadTo(microvmId, identity.directory);
    } catch (error) {
      this.#log.warn({ err: error as Error }, 'programs of this host cannot reach a guest by vsock');
    }
  }

  async #seeBooted(process: MicrovmProcess, limitMs: number, permit: Permit): Promise<void> {
    const { limits } = this.context;
    const hold = setTimeout(permit, limits.launchHoldMs);
    if (this.record.restored || this.record.spec.template !== undefined) void this.#tellRestored(process, limitMs);
    const booted = process.booted.then(
      (atNs) => atNs,
      () => 'ended' as const,
    );
    const outcome = await within(booted, limitMs, 'late');
    clearTimeout(hold);
    if (typeof outcome === 'bigint') return this.#noteBooted(process, outcome);
    if (outcome === 'late') {
      this.end({
        reason: 'vmmError',
        message: `the guest did not report that it had booted within ${Math.round(limitMs)} ms`,
      });
    }
    await within(this.ended, limits.killMs, undefined);
  }

  /** A Linux guest that goes on from a snapshot is ready when it has been told who it is. Never rejects. */
  async #tellRestored(process: MicrovmProcess, limitMs: number): Promise<void> {
    const { slots, dns, clock } = this.context;
    const { microvmId, spec, slot } = this.record;
    try {
      const agent = agentOf(process, spec);
      if (!agent || slot === undefined) return;
      const { mtu } = slots.network;
      const place = { slot: slots.slot(slot), ...(mtu === undefined ? {} : { mtu }) };
      await tellRestored(agent, guestIdentity({ microvmId, spec, dns, ...place }), () => clock.now(), limitMs);
    } catch (error) {
      if (this.#over) return;
      const message = `the restored guest could not be told who it is: ${(error as Error).message}`;
      this.end({ reason: 'vmmError', message });
    }
  }

  #noteBooted(process: MicrovmProcess, bootedNs: bigint): void {
    if (this.#over || this.record.phase !== 'launched') return;
    const { chronicle, facts } = this.context;
    const { microvmId, epoch } = this.record;
    const { pid } = process.identity;
    const timings = this.#timings(process, bootedNs);
    const fact = facts.started(this.record, pid, timings, this.#guestNetwork());
    if (!chronicle.record({ change: { type: 'running', microvmId, epoch }, facts: [fact] })) return;
    // It has its memory mapped; nobody else needs the file.
    if (this.record.restored) void this.context.suspensions.remove(microvmId);
    this.context.wakeDoors.changed(microvmId);
    this.#noteWorkingSet(process);
    this.#watch(process, { startSeconds: (timings.guestBootedAt - timings.admittedAt) / 1_000 });
  }

  #noteWorkingSet(process: MicrovmProcess): void {
    const { templates, workingSets } = this.context;
    const { restored, spec } = this.record;
    if (restored) return void workingSets.recordResumed(process);
    const templateId = templateOf(spec);
    const template = templateId === undefined ? undefined : templates.get(templateId);
    if (template) void workingSets.record(template, process);
  }

  #guestNetwork(): GuestNetwork | undefined {
    const { spec, slot } = this.record;
    if (slot === undefined || !wantedDevices(spec).network) return undefined;
    const { address, gateway, mac } = this.context.slots.slot(slot);
    return { address, gateway, mac };
  }

  #timings(process: MicrovmProcess, bootedNs: bigint): StartTimings {
    const { clock } = this.context;
    const stats = process.stats();
    const { receivedAt, admittedAt } = this.record;
    // A step that an adopted process's page does not tell counts as reached with the one before.
    let before = admittedAt;
    const next = (ns: bigint): number => (before = ns > 0n ? clock.ofMonotonic(ns) : before);
    const launchedAt = next(stats.launchedNs);
    const vmmEnteredAt = next(stats.enteredNs);
    const guestRunAt = next(stats.runNs);
    return { receivedAt, admittedAt, launchedAt, vmmEnteredAt, guestRunAt, guestBootedAt: next(bootedNs) };
  }

  #watch(process: MicrovmProcess, news: RunNews = {}): void {
    try {
      const { guestMemoryAddress, guestMemoryBytes, vcpuTids, devices } = process.stats();
      const { pid, startTicks } = process.identity;
      const { microvmId: id, epoch, spec, slot } = this.record;
      const { cgroups, slots, watcher } = this.context;
      const group = slot === undefined ? {} : cgroups.groupOf(slots.slot(slot));
      watcher.began(
        { id, epoch, pid, startTicks, guestMemoryAddress, guestMemoryBytes, vcpuTids, group },
        { ...news, ...(devices.length > 0 ? { devices: () => deviceReadingOf(spec, process.stats()) } : {}) },
      );
    } catch (error) {
      this.#log.debug({ err: error as Error }, 'not measured');
    }
  }

  /** A job. Never rejects; the outcome is a fact. */
  async pause(commandId: string): Promise<void> {
    await this.#order('pause', commandId, async (process) => {
      if (this.doing !== 'paused') await process.pause(this.context.limits.controlMs);
    });
  }

  /** A job. Never rejects; the outcome is a fact. */
  async resume(commandId: string): Promise<void> {
    await this.#order('resume', commandId, async (process) => {
      if (this.doing !== 'running') await process.resume(this.context.limits.controlMs);
    });
  }

  async #order(
    type: 'pause' | 'resume',
    commandId: string,
    act: (process: MicrovmProcess) => Promise<void>,
  ): Promise<void> {
    const { chronicle, facts, limits } = this.context;
    const { microvmId, epoch } = this.record;
    if (this.#over) return; // the end was told
    const done = { microvmId, epoch, commandId };
    try {
      const process = this.#process;
      if (!process || this.doing === 'starting') throw new Error('it has not booted');
      // The VMM's own deadline should be first; this one is for a binding that never answers.
      const outcome = await within(act(process), limits.controlMs + 500, 'late');
      if (outcome === 'late') throw new Error(`no answer within ${limits.controlMs} ms`);
    } catch (error) {
      if (this.#over) return;
      const fact = facts.commandFailed(this.record, type, commandId, (error as Error).message);
      chronicle.record({ done, facts: [fact] });
      return;
    }
    if (this.#over) return;
    const change = { type: type === 'pause' ? ('paused' as const) : ('running' as const), microvmId, epoch };
    const fact =
      type === 'pause' ? facts.pausedOnHost(this.record, commandId) : facts.resumedOnHost(this.record, commandId);
    chronicle.record({ change, done, facts: [fact] });
  }

  /** Sets the latest moment of its end. May be called again, to make it earlier. */
  endBy({ commandId, killAt, idle }: Extract<PendingCommand, { type: 'stop' }>): void {
    this.#stopCommandId = commandId;
    this.#idle ??= idle;
    if (killAt >= this.#killAt) return;
    this.#killAt = killAt;
    clearTimeout(this.#killTimer);
    const waitMs = killAt - this.context.clock.now();
    if (waitMs <= 0) return this.end({ reason: 'requested', message: 'killed on request' });
    const message = `killed on request: it had not powered off ${Math.round(waitMs)} ms after the power button`;
    this.#killTimer = setTimeout(() => this.end({ reason: 'requested', message }), waitMs);
  }

  /** A job: asks the guest to power off. Never rejects; {@link endBy} takes care of a guest that does not. */
  async pressPowerButton(): Promise<void> {
    const process = this.#process;
    if (!process || this.#over || this.#cause) return;
    const { controlMs } = this.context.limits;
    try {
      if (this.doing === 'paused') await within(process.resume(controlMs), controlMs + 500, undefined);
      await within(process.pressPowerButton(controlMs), controlMs + 500, undefined);
    } catch (error) {
      if (!this.#over) this.#log.warn({ err: error as Error }, 'the power button could not be pressed');
    }
  }

  /** Its memory is on the disk: writes that down, ends the process, and gives the place back when it has ended. */
  leaveSuspended(fact: OutboxFact): void {
    const { microvmId, epoch } = this.record;
    if (!this.context.chronicle.record({ change: { type: 'suspended', microvmId, epoch }, facts: [fact] })) return;
    this.#suspended = true;
    // First there is somebody else who listens.
    void within(this.context.wakeDoors.suspended(microvmId), DOOR_MS, undefined).finally(() => {
      if (!this.#over) this.#kill();
    });
  }

  /** Ends it at once, in whatever it is doing. Await {@link ended}. Only the first cause counts. */
  end(cause: EndCause): void {
    if (this.#over) return;
    this.#cause ??= cause;
    this.#cancel.abort(CANCELLED);
    if (this.#process) this.#kill();
  }

  #kill(): void {
    if (this.#insistTimer) return;
    this.#process!.kill();
    const { killMs } = this.context.limits;
    this.#insistTimer = setInterval(() => {
      const { pid } = this.#process!.identity;
      const reason = `process ${pid} has not ended ${killMs} ms after SIGKILL; it may hang in the kernel`;
      this.#log.error({ pid }, reason);
      this.#process!.kill();
      if (this.#stopCommandId === undefined) return;
      const fact = this.context.facts.commandFailed(this.record, 'stop', this.#stopCommandId, reason);
      this.context.chronicle.record({ facts: [fact] });
    }, killMs);
    this.#insistTimer.unref();
  }

  #finishWithoutProcess(cause: EndCause): void {
    this.#cause = cause;
    this.#finish({ reason: 'requested', message: cause.message, atNs: 0n });
  }

  /** Its process has ended, and that is written down. */
  #giveUpPlace(): void {
    const { admission, slots, watcher, folders, wakeDoors } = this.context;
    const { microvmId, slot } = this.record;
    this.#beOver();
    watcher.ended(microvmId);
    admission.release(microvmId);
    if (this.#process) folders.guestSockets.left(microvmId, this.#process.identity.directory);
    wakeDoors.changed(microvmId);
    this.#process?.release();
    if (slot !== undefined) slots.giveBack(slots.slot(slot));
    this.#resolveEnded();
  }

  #beOver(): void {
    this.#over = true;
    clearTimeout(this.#killTimer);
    clearTimeout(this.#expiryTimer);
    clearInterval(this.#insistTimer);
  }

  /** The one place where an incarnation ends. */
  #finish(report: ExitReport): void {
    if (this.#over) return;
    if (this.#suspended) return this.#giveUpPlace();
    const { chronicle, facts, clock } = this.context;
    const { microvmId, epoch } = this.record;
    const process = this.#process;
    // A guest that booted and ended at once: its history says both, in this order.
    if (process && this.record.phase === 'launched') {
      const bootedNs = this.#bootedNs(process);
      if (bootedNs > 0n) this.#noteBooted(process, bootedNs);
    }
    this.#beOver();
    const now = clock.now();
    const toldAt = report.atNs > 0n ? clock.ofMonotonic(report.atNs) : now;
    const at = Math.min(now, Math.max(toldAt, this.record.admittedAt));
    const exit = exitOf({
      report: this.#attributed(report),
      cause: this.#cause,
      asked: this.#stopCommandId !== undefined,
      idle: this.#idle,
      program: this.#program(process),
      at,
    });
    if (
      !chronicle.record({ change: { type: 'ended', microvmId, epoch, exit }, facts: [facts.exited(this.record, exit)] })
    )
      return;
    this.#log.debug({ exit }, 'ended');
    this.#giveUpPlace();
  }

  /** A process that was killed from outside may have been killed by the kernel, because its memory was used up. */
  #attributed(report: ExitReport): ExitReport {
    const { slot, oomKills = 0 } = this.record;
    if (slot === undefined || (report.reason !== 'killed' && report.reason !== 'lost') || this.#cause) return report;
    const kills = this.context.cgroups.oomKills(this.context.slots.slot(slot)) ?? 0;
    if (kills <= oomKills) return report;
    const message = 'the kernel killed the VMM: it had used up the memory that its microVM may take of the host';
    return { ...report, reason: 'outOfMemory', message };
  }

  #program(process: MicrovmProcess | undefined): Exit['program'] {
    try {
      return programEnd(process?.stats().guestReport);
    } catch {
      return undefined;
    }
  }

  #bootedNs(process: MicrovmProcess): bigint {
    try {
      return process.stats().bootedNs;
    } catch {
      return 0n;
    }
  }
}
