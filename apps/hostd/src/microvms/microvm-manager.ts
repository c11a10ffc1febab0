import { KeyedQueue, Pacer } from '#concurrency';
import { classOf, OperationError, SHARED, stopTimeoutMs, wantedDevices, type Coresidency, type Exit } from '#protocol';
import type { Grant } from '#scheduling';
import type { IdleCandidate } from '../idle/idle-watch';
import { keepsDisks } from '../disks/disk-plan';
import { holdsPlace, type Answer, type IncarnationRecord, type PendingCommand } from '../journal/host-record';
import { templateOf } from '../templates/template-of';
import { unrecordedIdentity } from '../recovery/vmm-search';
import type { AgentContext } from './agent-context';
import { decide, type HostCommand, type StartCommand, type Verdict } from './command-rules';
import { within } from './deadline';
import { FENCED, type EndCause } from './exits';
import { expiryAt } from './expiry';
import { LiveIncarnation } from './live-incarnation';
import { suspend, takeTemplate } from './snapshot-jobs';
import type { Turn } from './start-queue';

export interface InventoryItem {
  microvmId: string;
  epoch: number;
  as: 'starting' | 'running' | 'paused' | 'suspended' | 'ended';
  pid?: number;
}

/** How many VMMs are taken over at once after a restart. */
const ADOPTIONS_AT_ONCE = 64;

/** More answered starts are not remembered for a report; whoever counts on them waits until they are stale. */
const ANSWERED_KEPT = 8_192;

const ACCEPTED: Answer = { accepted: true };

type StaleListener = (command: HostCommand, seenEpoch: number) => void;

/**
 * Carries out the controller's commands on this host. A command is decided and written down in one synchronous step, in the
 * order of arrival; what it asks for is then done in the background, strictly in that order for each microVM, and its outcome
 * told as a fact.
 */
export class MicrovmManager {
  readonly #live = new Map<string, LiveIncarnation>();
  readonly #queue = new KeyedQueue();
  /** microVMs whose start was granted or refused, not reported yet. */
  readonly #answered = new Set<string>();
  #ended = 0;
  #draining = false;
  #stale: StaleListener = () => undefined;

  constructor(
    private readonly context: AgentContext,
    /** Whether the controllers still count on this host: only then may something new start here. */
    private readonly leaseHeld: () => boolean,
  ) {
    for (const { phase } of context.chronicle.state.incarnations.values()) if (phase === 'ended') this.#ended++;
  }

  /** Told of each command that was refused because its epoch is over; not of its repeats. */
  onStale(listener: StaleListener): void {
    this.#stale = listener;
  }

  /** microVMs whose start was granted or refused since this was asked last. */
  takeAnswered(): string[] {
    const answered = [...this.#answered];
    this.#answered.clear();
    return answered;
  }

  /** VMMs that exist, or are about to. */
  get liveCount(): number {
    return this.#live.size;
  }

  /**
   * Decides one command and writes the answer down. `turn`: of a start that has waited for it; without one, what is admitted waits then.
   *
   * @throws OperationError `unavailable` when nothing was decided and the same command may be sent again.
   */
  async command(command: HostCommand, turn?: Turn): Promise<Answer> {
    const receivedAt = turn?.receivedAt ?? this.context.clock.now();
    const refused = this.context.chronicle.unwritten(command.commandId);
    if (refused) return refused;
    for (;;) {
      const leaving = this.#leaving(command.microvmId);
      if (leaving) await this.#untilLeft(leaving);
      const verdict = decide(this.context.chronicle.state, command);
      // No await between deciding and writing down: nothing can come in between.
      if (verdict.kind !== 'endFirst') return this.#carryOut(command, verdict, receivedAt, turn);
      await this.#makeRoomFor(command, verdict.incarnation);
    }
  }

  #carryOut(
    command: HostCommand,
    verdict: Exclude<Verdict, { kind: 'endFirst' }>,
    receivedAt: number,
    turn: Turn | undefined,
  ): Answer {
    const { chronicle, facts } = this.context;
    const { commandId, microvmId, epoch } = command;
    switch (verdict.kind) {
      case 'answered':
        return verdict.answer;
      case 'known':
        return ACCEPTED;
      case 'refuse': {
        const answer = chronicle.accept(commandId, { accepted: false, reason: verdict.reason });
        if (verdict.seenEpoch !== undefined) this.#stale(command, verdict.seenEpoch);
        return answer;
      }
      case 'admit':
        return this.#noteAnswered(microvmId, this.#admit(command as StartCommand, receivedAt, turn, verdict.suspended));
      case 'discard':
        return this.#discard(command, verdict.incarnation);
      case 'ended':
        return chronicle.accept(kept(command), ACCEPTED, {
          facts: [facts.exited(verdict.incarnation, verdict.incarnation.exit!)],
        });
      case 'absent': {
        const change = { type: 'fenced' as const, microvmId, epoch };
        const answer = chronicle.accept(kept(command), ACCEPTED, { change, facts: [facts.absent(microvmId, epoch)] });
        if (verdict.superseded) this.#live.get(microvmId)?.end(supersededBy(epoch));
        return answer;
      }
      case 'expire':
        return this.#expire(command as Extract<HostCommand, { type: 'expire' }>);
      case 'observe':
        return this.#observe(verdict.incarnation, epoch);
      case 'erased': {
        const entry = {
          change: { type: 'fenced' as const, microvmId, epoch },
          facts: [facts.erased(microvmId, epoch)],
        };
        return chronicle.accept(commandId, ACCEPTED, entry);
      }
      case 'erase': {
        const change = { type: 'erasing' as const, microvmId, epoch: verdict.incarnation.epoch, upTo: epoch };
        const answer = chronicle.accept(commandId, ACCEPTED, { change });
        this.#erase(verdict.incarnation);
        return answer;
      }
      case 'do':
        return this.#order(command);
    }
  }

  #observe(incarnation: IncarnationRecord, epoch: number): Answer {
    const { chronicle, facts } = this.context;
    if (incarnation.phase === 'suspended') {
      const { microvmId } = incarnation;
      const change = { type: 'suspended' as const, microvmId, epoch };
      const fact = facts.observed({ microvmId, epoch }, 'suspended', undefined);
      return chronicle.accept(undefined, ACCEPTED, { change, facts: [fact] });
    }
    const as = this.#live.get(incarnation.microvmId)?.doing ?? 'starting';
    const fact = facts.observed(incarnation, as, incarnation.identity?.pid);
    // Asked again while nobody can be told: the same fact need not wait twice.
    const isToldAlready = [...chronicle.state.outbox.values()].some(
      (other) =>
        other.microvmId === incarnation.microvmId &&
        other.fact.type === 'observed' &&
        other.fact.epoch === incarnation.epoch &&
        other.fact.as === as,
    );
    return isToldAlready ? ACCEPTED : chronicle.accept(undefined, ACCEPTED, { facts: [fact] });
  }

  #noteAnswered(microvmId: string, answer: Answer): Answer {
    if (this.#answered.size >= ANSWERED_KEPT) this.#answered.clear();
    this.#answered.add(microvmId);
    return answer;
  }

  #admit(command: StartCommand, receivedAt: number, turn: Turn | undefined, suspended?: IncarnationRecord): Answer {
    const { chronicle, admission, images, clock, folders, slots } = this.context;
    const { commandId, microvmId, epoch, spec, coresidency, expiresAt } = command;
    if (this.#draining)
      throw new OperationError('unavailable', 'this host agent is shutting down; ask again in a moment');
    if (!this.leaseHeld()) {
      throw new OperationError(
        'unavailable',
        'this host has lost touch with the controllers and registers first; ask again',
      );
    }
    const { noRoom } = chronicle;
    if (noRoom !== undefined) return chronicle.refuseForRoom(commandId, noRoom);
    // Refused, it stays as it is, and goes by the epoch that the controllers know.
    const refuse = (reason: string): Answer =>
      chronicle.accept(
        commandId,
        { accepted: false, reason },
        suspended ? { change: { type: 'suspended', microvmId, epoch } } : {},
      );
    const refused = images.refuses(spec);
    if (refused !== undefined) return refuse(refused);
    const granted = admission.request(microvmId, grantOf(command));
    if (!granted.admitted) return refuse(granted.reason);
    const taken = slots.take(wantedDevices(spec).network, {
      key: suspended ? undefined : templateOf(spec),
      microvmId,
    });
    if ('refused' in taken) {
      admission.release(microvmId);
      return refuse(taken.refused);
    }
    const before = chronicle.state.incarnations.get(microvmId);
    const slot = taken.slot.number;
    const change = {
      type: 'admitted' as const,
      ...{ microvmId, epoch, spec, slot, receivedAt },
      admittedAt: clock.now(),
      ...(coresidency === undefined ? {} : { coresidency }),
      ...(expiresAt === undefined ? {} : { expiry: expiryAt(expiresAt, this.context.moment()) }),
      ...(suspended ? { restored: true as const } : {}),
    };
    try {
      chronicle.accept(commandId, ACCEPTED, { change }, 'room');
    } catch (error) {
      admission.release(microvmId);
      slots.giveBack(taken.slot);
      // Somebody was faster with what was free.
      const full = chronicle.noRoom;
      if (full === undefined) throw error;
      return chronicle.refuseForRoom(commandId, full);
    }
    if (before) {
      if (!suspended) this.#ended--;
      const { epoch: earlier } = before;
      this.#job(microvmId, () => folders.remove(microvmId, earlier));
    }
    const live = this.#bringToLife(chronicle.state.incarnations.get(microvmId)!);
    const permit = turn?.take();
    this.#job(microvmId, () => live.launch(permit));
    return ACCEPTED;
  }

  #expire({ commandId, microvmId, epoch, expiresAt }: Extract<HostCommand, { type: 'expire' }>): Answer {
    const expiry = expiresAt === null ? {} : { expiry: expiryAt(expiresAt, this.context.moment()) };
    const change = { type: 'expiry' as const, microvmId, epoch, ...expiry };
    const answer = this.context.chronicle.accept(commandId, ACCEPTED, { change });
    this.#live.get(microvmId)?.watchExpiry();
    return answer;
  }

  #bringToLife(record: IncarnationRecord): LiveIncarnation {
    const { microvmId, epoch } = record;
    const live = new LiveIncarnation(this.context, record);
    this.#live.set(microvmId, live);
    void live.ended.then(() => {
      if (this.#live.get(microvmId) === live) this.#live.delete(microvmId);
      // Of a suspended one nothing is kept but its memory and disks.
      if (record.phase !== 'ended') return this.#job(microvmId, () => this.context.folders.remove(microvmId, epoch));
      this.#ended++;
      // What it was suspended to, or went on from, is of no use to what is started afresh.
      this.#job(microvmId, () => this.context.suspensions.remove(microvmId));
      this.#dropOldRemains();
    });
    return live;
  }

  /** One that was just suspended, and whose place is not given back yet. */
  #leaving(microvmId: string): LiveIncarnation | undefined {
    const live = this.#live.get(microvmId);
    return live?.record.phase === 'suspended' ? live : undefined;
  }

  /** @throws OperationError `unavailable` when that takes too long. */
  async #untilLeft({ ended }: LiveIncarnation): Promise<void> {
    const { replaceMs } = this.context.limits;
    if ((await within(ended, replaceMs, 'late')) === 'late') {
      const message = `it is suspended, and its process did not end within ${replaceMs} ms; ask again`;
      throw new OperationError('unavailable', message);
    }
  }

  /** Ends one that is suspended; what it had in memory is lost. */
  #discard(command: HostCommand, held: IncarnationRecord): Answer {
    this.#discardMemory(held, command.epoch);
    return this.context.chronicle.accept(command.commandId, ACCEPTED);
  }

  #discardMemory(held: IncarnationRecord, epoch: number): void {
    const { chronicle, facts, clock, suspensions } = this.context;
    const { microvmId } = held;
    const exit: Exit = { reason: 'requested', message: 'ended while it was suspended', at: clock.now() };
    const change = { type: 'ended' as const, microvmId, epoch: held.epoch, exit };
    if (!chronicle.record({ change, facts: [facts.exited({ microvmId, epoch }, exit)] })) return;
    this.#ended++;
    this.#job(microvmId, () => suspensions.remove(microvmId));
  }

  /** Memory of suspended microVMs that went on, or ended, without an agent that could remove it. */
  async #dropLeftMemory(): Promise<void> {
    const { chronicle, suspensions } = this.context;
    for (const id of suspensions.list()) {
      const record = chronicle.state.incarnations.get(id);
      if (record ? !needsMemory(record) : chronicle.state.fences.has(id)) await suspensions.remove(id);
    }
  }

  /** An earlier agent ended between writing down that it is suspended and the end of its process. */
  async #endLeftOver({ microvmId, identity }: IncarnationRecord): Promise<void> {
    const { driver, limits } = this.context;
    if (!identity) return;
    const adopted = await driver.adopt(microvmId, identity).catch(() => undefined);
    if (!adopted) return;
    adopted.kill();
    await within(adopted.exited, limits.killMs, undefined);
    adopted.release();
  }

  /** Ends a lower epoch that is alive, so that the higher one can start. @throws OperationError `unavailable` when it will not end. */
  async #makeRoomFor(command: HostCommand, lower: IncarnationRecord): Promise<void> {
    if (lower.phase === 'suspended') return void this.#discardMemory(lower, command.epoch);
    const live = this.#live.get(command.microvmId);
    // Both are changed in one breath; were they ever not, deciding again would never end.
    if (!live)
      throw new OperationError('unavailable', `epoch ${lower.epoch} of it is on record, and not at hand; ask again`);
    live.end(supersededBy(command.epoch));
    const { replaceMs } = this.context.limits;
    if ((await within(live.ended, replaceMs, 'late')) === 'late') {
      const message = `epoch ${lower.epoch} of it still runs here and did not end within ${replaceMs} ms; ask again`;
      throw new OperationError('unavailable', message);
    }
  }

  /** pause, resume, snapshot, suspend, stop of an incarnation that is alive. */
  #order(command: HostCommand): Answer {
    const { chronicle, clock } = this.context;
    const { commandId, microvmId, epoch } = command;
    const pending: PendingCommand =
      command.type === 'stop'
        ? { type: 'stop', commandId, killAt: clock.now() + command.timeoutMs }
        : command.type === 'snapshot'
          ? { type: 'snapshot', commandId, templateId: command.templateId }
          : { type: command.type as 'pause' | 'resume' | 'suspend', commandId };
    const answer = chronicle.accept(commandId, ACCEPTED, { pending: { microvmId, epoch, command: pending } });
    const live = this.#live.get(microvmId);
    if (live) this.#do(live, pending);
    return answer;
  }

  #do(live: LiveIncarnation, command: PendingCommand): void {
    const { microvmId } = live.record;
    if (command.type === 'stop') {
      live.endBy(command);
      return this.#job(microvmId, () => live.pressPowerButton());
    }
    const { commandId } = command;
    this.#job(microvmId, () => {
      switch (command.type) {
        case 'pause':
          return live.pause(commandId);
        case 'resume':
          return live.resume(commandId);
        case 'snapshot':
          return takeTemplate(this.context, live, commandId, command.templateId);
        case 'suspend':
          return suspend(this.context, live, commandId, command.idle);
      }
    });
  }

  idleCandidate(microvmId: string): IdleCandidate | undefined {
    const live = this.#live.get(microvmId);
    if (!live) return undefined;
    const { epoch, spec } = live.record;
    return { epoch, idleStop: spec.idleStop, isServing: live.doing === 'running' && !live.isEnding };
  }

  /** Stops or suspends it in order on this host's own account; its exit, or the fact that it is suspended, tells the message. */
  endIdle(microvmId: string, message: string): void {
    const { chronicle, clock } = this.context;
    const live = this.#live.get(microvmId);
    if (!live) return;
    const { epoch, spec } = live.record;
    const commandId = `idle.${microvmId}.${epoch}`;
    const killAt = clock.now() + stopTimeoutMs(spec);
    const command: PendingCommand =
      spec.idleStop?.action === 'suspend'
        ? { type: 'suspend', commandId, idle: message }
        : { type: 'stop', commandId, killAt, idle: message };
    if (chronicle.record({ pending: { microvmId, epoch, command } })) this.#do(live, command);
  }

  /** Puts its memory on the disk on this host's own account; the fact that it is suspended tells the message. */
  suspendFor(microvmId: string, message: string): void {
    const live = this.#live.get(microvmId);
    if (!live || live.isEnding) return;
    const { epoch } = live.record;
    const command: PendingCommand = { type: 'suspend', commandId: `reclaim.${microvmId}.${epoch}`, idle: message };
    if (this.context.chronicle.record({ pending: { microvmId, epoch, command } })) this.#do(live, command);
  }

  /** Ends it at once and removes everything of it when it has ended. */
  #erase(record: IncarnationRecord): void {
    const { microvmId } = record;
    const live = this.#live.get(microvmId);
    live?.end({ reason: 'requested', message: 'ended to be erased' });
    void (live?.ended ?? Promise.resolve()).then(() => this.#job(microvmId, () => this.#removeErased(microvmId)));
  }

  async #removeErased(microvmId: string): Promise<void> {
    const { chronicle, folders, disks, suspensions, facts } = this.context;
    const record = chronicle.state.incarnations.get(microvmId);
    // An erase before this one did it.
    if (record === undefined || holdsPlace(record) || record.erasing === undefined) return;
    await folders.remove(microvmId, record.epoch);
    await suspensions.remove(microvmId);
    if (keepsDisks(record.spec)) await disks.remove(microvmId);
    const epoch = record.erasing;
    if (record.phase === 'ended') this.#ended--;
    chronicle.record({ change: { type: 'gone', microvmId, epoch }, facts: [facts.erased(microvmId, epoch)] });
  }

  /** Remains are kept for the log until they are erased; but not without bound, if the controller never asks. */
  #dropOldRemains(): void {
    const { chronicle, folders, limits, log } = this.context;
    if (this.#ended <= limits.endedKept) return;
    const told = (record: IncarnationRecord): boolean =>
      !chronicle.state.outbox.has(this.context.facts.exited(record, record.exit!).factId);
    for (const record of chronicle.state.incarnations.values()) {
      if (record.phase !== 'ended' || record.erasing !== undefined || !told(record)) continue;
      // Its disks are somebody's data: they go when they are erased, and its record with them.
      if (keepsDisks(record.spec)) continue;
      const { microvmId, epoch } = record;
      if (!chronicle.record({ change: { type: 'gone', microvmId, epoch } })) return;
      this.#job(microvmId, () => folders.remove(microvmId, epoch));
      log.debug({ microvmId, epoch }, 'old remains dropped');
      if (--this.#ended <= limits.endedKept) return;
    }
  }

  #job(microvmId: string, job: () => Promise<void>): void {
    this.#queue.run(microvmId, job).catch((error: unknown) => {
      this.context.log.error({ err: error, microvmId }, 'a job failed in a way that nobody foresaw');
      this.#live.get(microvmId)?.end({ reason: 'vmmError', message: `the host agent failed: ${String(error)}` });
    });
  }

  /**
   * Takes over what the journal says is alive: adopts VMMs that run, writes down the end of those that do not, and goes on with
   * commands that were accepted and not done. Resolves when all processes are known; commands go on in the background.
   */
  async recover(): Promise<void> {
    const { chronicle, admission, slots } = this.context;
    const records = [...chronicle.state.incarnations.values()];
    const alive = records.filter(holdsPlace);
    for (const record of records) if (record.phase === 'suspended') await this.#endLeftOver(record);
    await this.#dropLeftMemory();
    // All places first: nothing may be granted that is taken.
    for (const record of alive) {
      const { microvmId, spec, slot } = record;
      admission.restore(microvmId, grantOf(record));
      if (slot !== undefined) slots.restore(slot, wantedDevices(spec).network);
    }
    const pacer = new Pacer(ADOPTIONS_AT_ONCE);
    await Promise.all(
      alive.map(async (record) => {
        const permit = await pacer.acquire();
        try {
          await this.#recoverOne(record);
        } finally {
          permit();
        }
      }),
    );
    for (const record of records) if (record.erasing !== undefined) this.#erase(record);
  }

  async #recoverOne(record: IncarnationRecord): Promise<void> {
    const { chronicle, driver, folders } = this.context;
    const { microvmId, epoch } = record;
    const pending = [...record.pending];
    const live = this.#bringToLife(record);
    // Away for longer than its lease: it is adopted only to be ended, or not launched at all.
    if (!this.leaseHeld() && mayStartElsewhere(record)) live.end(FENCED);
    let { identity } = record;
    if (!identity) {
      // Granted, but the agent ended before it wrote down the process: there may be one, or have been one.
      identity = await unrecordedIdentity(driver, microvmId, folders.pathOf(microvmId, epoch));
      if (identity) chronicle.record({ change: { type: 'launched', microvmId, epoch, identity } });
    }
    if (identity) {
      await live.adopt(identity);
      this.#job(microvmId, () => live.finishBoot());
    } else {
      this.#job(microvmId, () => live.launch());
    }
    for (const command of pending) if (holdsPlace(record)) this.#do(live, command);
  }

  /** The lease is over: ends everything that may start elsewhere any moment now. Gives the ends of those that were alive. */
  fence(): Promise<void>[] {
    const fenced = [...this.#live.values()].filter(({ record }) => mayStartElsewhere(record));
    for (const live of fenced) live.end(FENCED);
    return fenced.map(({ ended }) => ended);
  }

  /** Everything this host holds. */
  inventory(): InventoryItem[] {
    const items: InventoryItem[] = [];
    for (const { microvmId, epoch, phase, identity } of this.context.chronicle.state.incarnations.values()) {
      if (phase === 'ended' || phase === 'suspended') {
        items.push({ microvmId, epoch, as: phase });
        continue;
      }
      const as = this.#live.get(microvmId)?.doing ?? 'starting';
      items.push({ microvmId, epoch, as, ...(identity ? { pid: identity.pid } : {}) });
    }
    return items;
  }

  /** Everything that has not ended. */
  living(): Iterable<LiveIncarnation> {
    return this.#live.values();
  }

  /** The running VMM of a microVM, if there is one. */
  liveOf(microvmId: string): LiveIncarnation | undefined {
    return this.#live.get(microvmId);
  }

  /** Takes no more starts, and waits for what is under way, for at most `ms`. microVMs go on running. */
  async drain(ms: number): Promise<void> {
    this.#draining = true;
    await within(this.#queue.settled(), ms, undefined);
  }
}

/** Whether it goes on, or may go on, from the memory of a suspended one. */
function needsMemory({ phase, restored, pending }: IncarnationRecord): boolean {
  if (phase === 'suspended' || pending.some(({ type }) => type === 'suspend')) return true;
  return restored === true && (phase === 'admitted' || phase === 'launched');
}

function mayStartElsewhere({ spec }: IncarnationRecord): boolean {
  return spec.onHostLoss === 'reschedule';
}

/** What an incarnation holds while it lives. */
function grantOf({
  spec,
  coresidency = SHARED,
}: Pick<IncarnationRecord, 'spec'> & { coresidency?: Coresidency | undefined }): Grant {
  const { vcpus, memoryMiB, tenant } = spec;
  return { vcpus, memoryMiB, tenant, coresidency, class: classOf(spec) };
}

/** Under which id an answer is kept: a question is answered anew each time. */
function kept(command: HostCommand): string | undefined {
  return command.type === 'verify' ? undefined : command.commandId;
}

function supersededBy(epoch: number): EndCause {
  return { reason: 'requested', message: `ended because epoch ${epoch} of it takes its place` };
}
