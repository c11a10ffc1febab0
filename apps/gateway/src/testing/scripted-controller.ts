import { randomBytes } from 'node:crypto';
import type { NatsConnection, Subscription } from 'nats';
import type { z } from 'zod';
import { openGroupJournal, openHostJournal, openMicrovmJournal } from '#fleet';
import type { Journal } from '#journal';
import {
  decideCommand,
  decideEvents,
  decideHostEvents,
  foldHostRecord,
  foldMicrovmRecord,
  microvmContext,
  microvmState,
  viewHost,
  viewMicrovm,
  type Decision,
  type HostLife,
  type MicrovmCommand,
  type MicrovmLife,
} from '#lifecycle';
import {
  OperationError,
  assignHostClass,
  cancelDrain,
  cordonHost,
  createMicrovm,
  deleteMicrovm,
  drainHost,
  dryRunPlacement,
  getMicrovm,
  hostHistory,
  hostLog,
  killMicrovm,
  listHosts,
  microvmHistory,
  microvmHistoryOf,
  pauseMicrovm,
  placementOf,
  planDrain,
  protectMicrovm,
  recordOfTuning,
  resumeMicrovm,
  retireHost,
  sortableId,
  startMicrovm,
  stopMicrovm,
  suspendMicrovm,
  tuneMicrovm,
  subjectFor,
  uncordonHost,
  whatIf,
  type HostDescription,
  type HostEvent,
  type GroupRecord,
  type HostRecord,
  type MicrovmEvent,
  type MicrovmRecord,
  type MicrovmSpec,
  type Operation,
  type Tuning,
} from '#protocol';

import { scriptedWhatIf } from './scripted-what-if';
import { answerDensity } from './scripted-density';
import { ScriptedGroups } from './scripted-groups';
import { ScriptedTemplates } from './scripted-templates';

export const HOST_ID = 'host-a';

/** What a host makes of an order. hang: nothing is ever heard of it. */
type Outcome = 'done' | 'fails' | 'hangs';

/**
 * Controller, placement and host in one, for tests of the gateway: real histories on a real stream, decided by the real
 * machines, and a script for what hosts do. It keeps no promises about crashes.
 */
export class ScriptedController {
  /** What hosts do with each order. */
  readonly script: Record<'start' | 'pause' | 'resume' | 'suspend' | 'stop' | 'erase', Outcome> = {
    start: 'done',
    pause: 'done',
    resume: 'done',
    suspend: 'done',
    stop: 'done',
    erase: 'done',
  };
  /** Every request that arrived, newest last. */
  readonly requests: { subject: string; request: Record<string, unknown> }[] = [];
  /** By subject: answers instead of the usual handler. Never resolving means silence. */
  readonly instead = new Map<string, (request: never) => unknown>();
  readonly groups: ScriptedGroups;
  readonly templates = new ScriptedTemplates((id) => viewMicrovm(this.#life(id)));
  readonly #lives = new Map<string, MicrovmLife>();
  readonly #keys = new Map<string, { id: string; spec: string }>();
  readonly #subscriptions: Subscription[] = [];
  #queue: Promise<unknown> = Promise.resolve();
  #host: HostLife | null = null;
  #commands = 0;

  private constructor(
    private readonly nc: NatsConnection,
    private readonly microvms: Journal<MicrovmRecord>,
    private readonly hosts: Journal<HostRecord>,
    groups: Journal<GroupRecord>,
  ) {
    this.groups = new ScriptedGroups(groups);
  }

  static async start(nc: NatsConnection): Promise<ScriptedController> {
    const ignore = (): void => undefined;
    const controller = new ScriptedController(
      nc,
      await openMicrovmJournal(nc, ignore),
      await openHostJournal(nc, ignore),
      await openGroupJournal(nc, ignore),
    );
    await controller.#changeHost([{ type: 'registered', description: DESCRIPTION }, { type: 'admitted' }]);
    await controller.resume();
    return controller;
  }

  /** Stops answering: when it resolves, NATS knows that nobody is subscribed any more. */
  async pause(): Promise<void> {
    for (const subscription of this.#subscriptions.splice(0)) subscription.unsubscribe();
    if (!this.nc.isClosed()) await this.nc.flush();
  }

  /** Answers again: from when it resolves, whatever connection asks. */
  async resume(): Promise<void> {
    this.#answer(createMicrovm, (request) => this.#create(request));
    this.#answer(getMicrovm, ({ id }) => ({ microvm: viewMicrovm(this.#life(id)) }));
    this.#answer(pauseMicrovm, ({ id, commandId }) => this.#command(id, { type: 'pause' }, commandId));
    this.#answer(resumeMicrovm, ({ id, commandId }) =>
      this.#command(id, { type: 'resume', requestedAt: Date.now() }, commandId),
    );
    this.#answer(suspendMicrovm, ({ id, commandId }) => this.#command(id, { type: 'suspend' }, commandId));
    this.#answer(stopMicrovm, ({ id, commandId, timeoutMs }) =>
      this.#command(id, { type: 'stop', timeoutMs }, commandId),
    );
    this.#answer(killMicrovm, ({ id, commandId }) => this.#command(id, { type: 'kill' }, commandId));
    this.#answer(startMicrovm, ({ id, commandId }) =>
      this.#command(id, { type: 'start', requestedAt: Date.now() }, commandId),
    );
    this.#answer(deleteMicrovm, ({ id, commandId }) => this.#command(id, { type: 'delete' }, commandId));
    this.#answer(protectMicrovm, ({ id, commandId, enabled }) =>
      this.#command(id, { type: 'protect', enabled }, commandId),
    );
    this.#answer(tuneMicrovm, ({ id, tuning }) => this.#tune(id, tuning));
    this.#answer(microvmHistoryOf, (request) => this.#history(request));
    this.#answer(placementOf, () => ({ receipts: [] }));
    this.#answer(dryRunPlacement, () => ({ receipts: [] }));
    this.#answer(whatIf, ({ from, to, runs }) => scriptedWhatIf(from, to, runs));
    this.groups.answer((operation, handler) => this.#answer(operation, handler));
    this.templates.answer((operation, handler) => this.#answer(operation, handler));
    answerDensity(HOST_ID, (operation, handler) => this.#answer(operation, handler));
    this.#answer(listHosts, () => ({ items: this.#host ? [viewHost(this.#host)] : [] }));
    for (const [operation, type] of [
      [cordonHost, 'cordonRequested'],
      [uncordonHost, 'uncordonRequested'],
      [retireHost, 'retireRequested'],
      [cancelDrain, 'drainCancelled'],
    ] as const) {
      this.#answer(operation, async ({ hostId }) => {
        if (hostId !== HOST_ID) throw new OperationError('notFound', `there is no host ${hostId}`);
        await this.#changeHost([{ type }]);
        return { host: viewHost(this.#host!) };
      });
    }
    this.#answer(assignHostClass, async ({ hostId, hostClass }) => {
      if (hostId !== HOST_ID) throw new OperationError('notFound', `there is no host ${hostId}`);
      await this.#changeHost([{ type: 'classAssigned', hostClass }]);
      return { host: viewHost(this.#host!) };
    });
    this.#answer(drainHost, async ({ hostId, parallel, graceMs, kept }) => {
      if (hostId !== HOST_ID) throw new OperationError('notFound', `there is no host ${hostId}`);
      await this.#changeHost([{ type: 'drainRequested', parallel, graceMs, kept }]);
      return { host: viewHost(this.#host!) };
    });
    this.#answer(planDrain, ({ hostId, ...order }) => {
      if (hostId !== HOST_ID) throw new OperationError('notFound', `there is no host ${hostId}`);
      return { plan: { hostId, at: Date.now(), ...order, ...EMPTY_PLAN } };
    });
    this.#answer(hostLog, ({ since = 0 }) => {
      const text = 'canary: up\ncanary: bye\n';
      return { text: text.slice(since), from: since, to: text.length };
    });
    await this.nc.flush();
  }

  /** Makes a record as a host or the controller itself would. */
  happens(id: string, events: MicrovmEvent[]): Promise<void> {
    return this.#locked(async () => {
      const life = this.#life(id);
      await this.#record(id, life, decideEvents(life, events, this.#occasion(id)));
    });
  }

  #answer<O extends Operation>(
    operation: O,
    handler: (request: z.output<O['request']>) => z.input<O['reply']> | Promise<z.input<O['reply']>>,
  ): void {
    const subject = subjectFor(operation.subject, { hostId: HOST_ID });
    const respond = async (data: Uint8Array): Promise<unknown> => {
      try {
        const request = operation.request.parse(JSON.parse(new TextDecoder().decode(data))) as z.output<O['request']>;
        this.requests.push({ subject, request: request as Record<string, unknown> });
        const instead = this.instead.get(subject);
        return await (instead ? instead(request as never) : this.#locked(async () => handler(request)));
      } catch (error) {
        if (error instanceof OperationError) return { error: error.toBody() };
        return { error: { code: 'internal', message: String(error) } };
      }
    };
    const subscription = this.nc.subscribe(subject, {
      callback: (_error, msg) => void respond(msg.data).then((reply) => msg.respond(JSON.stringify(reply))),
    });
    this.#subscriptions.push(subscription);
  }

  #locked<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }

  #occasion(microvmId: string, commandId = `c${++this.#commands}`) {
    return { microvmId, commandId, cause: { kind: 'operator' as const, by: 'operator' }, at: Date.now() };
  }

  #life(id: string): MicrovmLife {
    const life = this.#lives.get(id);
    if (!life) throw new OperationError('notFound', `there is no microVM ${id}`);
    return life;
  }

  async #record(id: string, life: MicrovmLife | null, decision: Decision): Promise<MicrovmLife> {
    if (decision.kind === 'refused')
      throw new OperationError('conflict', `the microVM is ${decision.state}: ${decision.reason ?? 'not now'}`);
    if (decision.kind !== 'record') return life!;
    const { sequence } = await this.microvms.append(microvmHistory(id), decision.record, {
      commandId: decision.record.commandId,
      expectedSequence: life?.revision ?? 0,
    });
    const next = foldMicrovmRecord(life, decision.record, sequence);
    this.#lives.set(id, next);
    setImmediate(() => void this.#host_does(next));
    return next;
  }

  async #create({ spec, idempotencyKey, requestedAt }: z.output<typeof createMicrovm.request>) {
    const known = idempotencyKey === undefined ? undefined : this.#keys.get(idempotencyKey);
    if (known && known.spec !== JSON.stringify(spec))
      throw new OperationError('conflict', 'the key was used otherwise');
    if (known) return { microvm: viewMicrovm(this.#life(known.id)), created: false };
    const id = sortableId(Date.now(), randomBytes(10));
    if (idempotencyKey !== undefined) this.#keys.set(idempotencyKey, { id, spec: JSON.stringify(spec) });
    const life = await this.#birth(id, spec, requestedAt ?? Date.now());
    return { microvm: viewMicrovm(life), created: true };
  }

  #birth(id: string, spec: MicrovmSpec, requestedAt: number): Promise<MicrovmLife> {
    const events: MicrovmEvent[] = [
      { type: 'requested', spec, requestedAt, specHash: 'x' },
      { type: 'placementStarted' },
    ];
    return this.#record(id, null, decideEvents(null, events, this.#occasion(id)));
  }

  async #command(id: string, command: MicrovmCommand, commandId?: string) {
    const life = this.#life(id);
    return {
      microvm: viewMicrovm(await this.#record(id, life, decideCommand(life, command, this.#occasion(id, commandId)))),
    };
  }

  async #tune(id: string, tuning: Tuning) {
    const life = this.#life(id);
    const { epoch } = microvmContext(life);
    const event: MicrovmEvent = { type: 'tuned', hostId: HOST_ID, epoch, tuning: recordOfTuning(tuning) };
    return { microvm: viewMicrovm(await this.#record(id, life, decideEvents(life, [event], this.#occasion(id)))) };
  }

  /** Plays placement and host for a microVM that waits for one of them. */
  async #host_does(life: MicrovmLife): Promise<void> {
    const { epoch } = microvmContext(life);
    const here = { hostId: HOST_ID, epoch };
    const exit = { reason: 'requested' as const, message: 'asked to', at: Date.now() };
    const play = (outcome: Outcome, done: MicrovmEvent, fails: MicrovmEvent) => {
      if (outcome === 'hangs' || this.#lives.get(life.id) !== life) return;
      return this.happens(life.id, [outcome === 'done' ? done : fails]);
    };
    switch (microvmState(life)) {
      case 'placing':
        return play(
          'done',
          { type: 'placed', hostId: HOST_ID, epoch: epoch + 1, receiptId: 'r', decidedAt: Date.now() },
          { type: 'placementStarted' },
        );
      case 'starting':
        return play(
          this.script.start,
          { type: 'started', ...here, pid: 4242, timings: timings() },
          { type: 'exited', ...here, exit: { ...exit, reason: 'vmmError', message: 'no /dev/kvm' } },
        );
      case 'pausing':
        return play(
          this.script.pause,
          { type: 'pausedOnHost', ...here },
          { type: 'commandFailed', ...here, command: 'pause', reason: 'its VMM does not answer' },
        );
      case 'resuming':
        return play(
          this.script.resume,
          { type: 'resumedOnHost', ...here },
          { type: 'commandFailed', ...here, command: 'resume', reason: 'its VMM does not answer' },
        );
      case 'suspending':
        return play(
          this.script.suspend,
          { type: 'suspended', ...here, bytes: 1_048_576, pauseMs: 3 },
          { type: 'commandFailed', ...here, command: 'suspend', reason: 'its disk is full' },
        );
      case 'restoring':
        return play(
          this.script.start,
          { type: 'started', ...here, pid: 4243, timings: timings() },
          { type: 'refused', ...here, reason: 'no slot free' },
        );
      case 'stopping':
        return play(this.script.stop, { type: 'exited', ...here, exit }, { type: 'absent', ...here, reason: 'gone' });
      case 'deleting':
        return play(this.script.erase, { type: 'erased', ...here }, { type: 'absent', ...here, reason: 'gone' });
      default:
        return;
    }
  }

  async #history({ id, at = Infinity }: { id: string; at?: number | undefined }) {
    const { entries } = await this.microvms.read(microvmHistory(id));
    if (entries.length === 0) throw new OperationError('notFound', `there is no microVM ${id}`);
    let life: MicrovmLife | null = null;
    const told = [];
    for (const { record, sequence } of entries) {
      if (record.at > at) break;
      life = foldMicrovmRecord(life, record, sequence);
      const { commandId, cause, from, to, events } = record;
      told.push({
        sequence,
        at: new Date(record.at).toISOString(),
        commandId,
        cause,
        from,
        to,
        latencyMs: null,
        events,
      });
    }
    return { id, entries: told, microvm: life && viewMicrovm(life) };
  }

  async #changeHost(events: HostEvent[]): Promise<void> {
    const occasion = this.#occasion(HOST_ID);
    const decision = decideHostEvents(this.#host, events, { ...occasion, hostId: HOST_ID });
    if (decision.kind === 'refused') throw new OperationError('conflict', `the host is ${decision.state}`);
    if (decision.kind === 'nothing') return;
    const { microvmId: _, ...record } = decision.record as HostRecord & { microvmId?: string };
    const { sequence } = await this.hosts.append(hostHistory(HOST_ID), record, {
      commandId: record.commandId,
      expectedSequence: this.#host?.revision ?? 0,
    });
    this.#host = foldHostRecord(this.#host, record, sequence);
  }
}

/** A plan for a host on which nothing runs. */
const EMPTY_PLAN = {
  counts: { moves: 0, waitsForRoom: 0, waitsForItsEnd: 0, stops: 0, settles: 0 },
  steps: [],
  omitted: 0,
  estimate: { leastMs: 0, mostMs: 0 },
};

const DESCRIPTION: HostDescription = {
  hostId: HOST_ID,
  hostname: 'a.example',
  kernel: '6.1',
  agentVersion: '0',
  bootId: 'b',
  kvm: { available: true, kind: 'software' },
  cpus: 2,
  memoryMiB: 4096,
  reserveMiB: 512,
  slots: 100,
  overcommit: { cpu: 4, memory: 1.5 },
  images: ['canary'],
  labels: {},
};

function timings() {
  const at = Date.now();
  return { receivedAt: at, admittedAt: at, launchedAt: at, vmmEnteredAt: at, guestRunAt: at, guestBootedAt: at };
}
