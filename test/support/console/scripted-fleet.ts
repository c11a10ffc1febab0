import { randomBytes, randomUUID } from 'node:crypto';
import {
  decideCommand,
  decideEvents,
  decideHostEvents,
  foldHostRecord,
  foldMicrovmRecord,
  viewHost,
  viewMicrovm,
  type Advance,
  type HostLife,
  type MicrovmCommand,
  type MicrovmEffect,
  type MicrovmLife,
} from '#lifecycle';
import {
  MicrovmSpec,
  sortableId,
  type Cause,
  type DensityReport,
  type FleetDensity,
  type GuardAct,
  type HistoryEntry,
  type Host,
  type HostEvent,
  type HostHistoryEntry,
  type HostRecord,
  type Microvm,
  type MicrovmEvent,
  type MicrovmRecord,
  type MicrovmSpecInput,
  type Receipt,
} from '#protocol';
import { hostFigures } from './scripted-host-density';

export type ScriptedChange =
  | { kind: 'microvm'; sequence: number; microvm: Microvm; record: MicrovmRecord }
  | { kind: 'host'; sequence: number; host: Host; record: HostRecord };

/** Thrown for what the controller would refuse; `status` is the one of REST. */
export class ScriptedRefusal extends Error {
  override readonly name = 'ScriptedRefusal';
  constructor(
    readonly status: number,
    message: string,
    readonly errors?: { path: string; message: string }[],
  ) {
    super(message);
  }
}

interface Story {
  life: MicrovmLife;
  records: { record: MicrovmRecord; sequence: number }[];
  receipts: Receipt[];
  log: string;
}

const CONTROLLER: Cause = { kind: 'controller', by: 'controller' };

/**
 * A fleet without hosts: the real machines decide, the hosts' answers are made up after a moment. Its histories are legal,
 * so a page tested against it sees nothing that a real fleet could not show.
 */
export class ScriptedFleet {
  readonly #stories = new Map<string, Story>();
  readonly #hosts = new Map<string, HostLife>();
  readonly #listeners = new Set<(change: ScriptedChange) => void>();
  readonly #keys = new Map<string, { body: string; id: string }>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly changes: ScriptedChange[] = [];
  #microvmSequence = 0;
  #hostSequence = 0;
  #pid = 20_000;
  #now = Date.now();

  /** `stepMs`: how long hosts and placement take for each answer. */
  constructor(private readonly stepMs = 5) {}

  get position(): string {
    return `${this.#microvmSequence}.${this.#hostSequence}`;
  }

  onChange(listener: (change: ScriptedChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#listeners.clear();
  }

  addHost(id: string, kind: 'hardware' | 'software' = 'software'): void {
    const description = {
      hostId: id,
      hostname: id,
      kernel: '6.1.0-25-cloud-amd64',
      agentVersion: '0.1.0',
      bootId: randomUUID(),
      kvm: { available: true, kind },
      cpus: 16,
      memoryMiB: 131_072,
      reserveMiB: 2_048,
      slots: 4_096,
      overcommit: { cpu: 10, memory: 2 },
      images: ['canary'],
      labels: {},
    };
    this.#hostEvents(id, [{ type: 'registered', description }, { type: 'admitted' }], { kind: 'host', by: id });
  }

  hosts(): Host[] {
    return [...this.#hosts.values()].map(viewHost);
  }

  hostHistory(id: string): HostHistoryEntry[] {
    return this.changes.flatMap((change) => {
      if (change.kind !== 'host' || change.host.id !== id) return [];
      const { at, commandId, cause, from, to, events } = change.record;
      return [{ sequence: change.sequence, at: new Date(at).toISOString(), commandId, cause, from, to, events }];
    });
  }

  /** Its guards shut best effort out and take memory back. */
  guardsAct(id: string): void {
    const { reading, gates } = hostFigures(131_072, this.#tick()).guards!;
    const { since: at, reason } = gates.bestEffort;
    const acts: GuardAct[] = [
      { act: 'admission', at, class: 'bestEffort', open: false, reason: reason!, afterMs: 1_000, reading },
      { act: 'reclaim', at, microvmId: '01jd0000000000000000000000', step: 'evict', mib: 0, reason: reason!, reading },
    ];
    const cause = { kind: 'host' as const, by: id };
    this.#hostEvents(id, [{ type: 'guardsActed', batch: randomUUID(), acts, omitted: 0 }], cause);
  }

  hostCommand(id: string, verb: string): Host {
    if (!this.#hosts.has(id)) throw new ScriptedRefusal(404, `there is no host ${id}`);
    const type = { cordon: 'cordonRequested', uncordon: 'uncordonRequested', retire: 'retireRequested' }[verb];
    this.#hostEvents(id, [{ type } as HostEvent], { kind: 'operator', by: 'operator' });
    return viewHost(this.#hosts.get(id)!);
  }

  list({ deleted = false, limit = 100, cursor }: { deleted?: boolean; limit?: number; cursor?: string | undefined }): {
    items: Microvm[];
    nextCursor: string | null;
  } {
    const fitting = [...this.#stories.values()]
      .map(({ life }) => viewMicrovm(life))
      .filter(({ state, id }) => (state === 'deleted') === deleted && (cursor === undefined || id > cursor))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const items = fitting.slice(0, limit);
    return { items, nextCursor: fitting.length > limit ? items.at(-1)!.id : null };
  }

  microvm(id: string): Microvm {
    return viewMicrovm(this.#story(id).life);
  }

  create(input: unknown, key?: string): Microvm {
    const parsed = MicrovmSpec.safeParse(input);
    if (!parsed.success) {
      const errors = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
      throw new ScriptedRefusal(422, 'The request is not valid', errors);
    }
    const spec = parsed.data;
    if (spec.image !== 'canary')
      throw new ScriptedRefusal(422, `there is no image ${spec.image}`, [{ path: 'image', message: 'is not known' }]);
    const body = JSON.stringify(spec);
    const earlier = key === undefined ? undefined : this.#keys.get(key);
    if (earlier && earlier.body !== body)
      throw new ScriptedRefusal(409, 'this Idempotency-Key was used with another body');
    if (earlier) return this.microvm(earlier.id);
    const at = this.#tick();
    const id = sortableId(Math.floor(at), randomBytes(10));
    if (key !== undefined) this.#keys.set(key, { body, id });
    this.#microvmEvents(
      id,
      [{ type: 'requested', spec, requestedAt: at - 0.4, specHash: 'x' }, { type: 'placementStarted' }],
      {
        kind: 'operator',
        by: 'operator',
      },
    );
    return this.microvm(id);
  }

  command(id: string, verb: string): Microvm {
    const { life } = this.#story(id);
    const at = this.#tick();
    const command = (
      verb === 'stop'
        ? { type: verb, timeoutMs: 10_000 }
        : verb === 'start'
          ? { type: verb, requestedAt: at - 0.3 }
          : { type: verb }
    ) as MicrovmCommand;
    const decision = decideCommand(life, command, {
      microvmId: id,
      commandId: randomUUID(),
      cause: { kind: 'operator', by: 'operator' },
      at,
    });
    if (decision.kind === 'refused')
      throw new ScriptedRefusal(409, `microVM ${id} is ${decision.state}: it cannot ${verb} now`);
    if (decision.kind === 'record') this.#record(id, decision.record, decision.advance);
    return this.microvm(id);
  }

  /** Its guest panics. */
  panic(id: string): void {
    const { epoch, hostId } = this.microvm(id);
    this.#microvmEvents(
      id,
      [
        {
          type: 'exited',
          epoch,
          hostId: hostId!,
          exit: { reason: 'panic', message: 'guest panic: attempted to kill init', at: this.#now },
        },
      ],
      { kind: 'host', by: hostId! },
    );
  }

  history(id: string, at?: number): { id: string; entries: HistoryEntry[]; microvm: Microvm | null } {
    const entries: HistoryEntry[] = [];
    let life: MicrovmLife | null = null;
    for (const { record, sequence } of this.#story(id).records) {
      if (at !== undefined && record.at > at) break;
      const before: number | undefined = life?.updatedAt;
      life = foldMicrovmRecord(life, record, sequence);
      const { commandId, cause, from, to, events } = record;
      const latencyMs = before === undefined ? null : record.at - before;
      entries.push({ sequence, at: new Date(record.at).toISOString(), commandId, cause, from, to, latencyMs, events });
    }
    return { id, entries, microvm: life && viewMicrovm(life) };
  }

  receipts(id: string): Receipt[] {
    return this.#story(id).receipts;
  }

  log(id: string, since?: number): { text: string; from: number; to: number } {
    const { log } = this.#story(id);
    const from = since ?? Math.max(0, log.length - 65_536);
    return { text: log.slice(from), from, to: log.length };
  }

  write(id: string, text: string): void {
    this.#story(id).log += text;
  }

  /** Makes many that run, as fast as folding allows. */
  seed(count: number, spec: (index: number) => MicrovmSpecInput): string[] {
    const hosts = [...this.#hosts.keys()];
    return Array.from({ length: count }, (_, index) => {
      const id = sortableId(Math.floor(this.#now), randomBytes(10));
      const at = this.#tick();
      this.#microvmEvents(
        id,
        [
          { type: 'requested', spec: MicrovmSpec.parse(spec(index)), requestedAt: at - 0.4, specHash: 'x' },
          { type: 'placementStarted' },
        ],
        { kind: 'operator', by: 'operator' },
        false,
      );
      this.#place(id, hosts[index % hosts.length]!, false);
      this.#start(id);
      return id;
    });
  }

  density(): FleetDensity {
    const at = Date.now();
    const hosts = this.hosts().map((host) => this.#report(host, at));
    const sum = (of: (report: DensityReport) => number): number =>
      hosts.reduce((total, report) => total + of(report), 0);
    const cores = sum(({ capacity }) => capacity.cpus);
    const memory = sum(({ capacity }) => capacity.memoryMiB - capacity.reserveMiB);
    const commitment = {
      vcpus: sum((report) => report.commitment.vcpus),
      memoryMiB: sum((report) => report.commitment.memoryMiB),
    };
    return {
      at,
      hosts,
      fleet: {
        microvms: sum(({ microvms }) => microvms),
        slots: { total: sum(({ slots }) => slots.total), used: sum(({ slots }) => slots.used) },
        commitment,
        used: { cpuCores: sum(({ used }) => used.cpuCores), memoryMiB: sum(({ used }) => used.memoryMiB) },
        overcommit: { cpu: commitment.vcpus / (cores || 1), memory: commitment.memoryMiB / (memory || 1) },
        headroom: {
          vcpus: sum(({ headroom }) => headroom.vcpus),
          memoryMiB: sum(({ headroom }) => headroom.memoryMiB),
          slots: sum(({ headroom }) => headroom.slots),
        },
      },
    };
  }

  #report({ id, description }: Host, at: number): DensityReport {
    const here = [...this.#stories.values()]
      .map(({ life }) => viewMicrovm(life))
      .filter(({ hostId, state }) => hostId === id && !['stopped', 'failed', 'deleted'].includes(state));
    const commitment = {
      vcpus: here.reduce((sum, { vcpus }) => sum + vcpus, 0),
      memoryMiB: here.reduce((sum, { memoryMiB }) => sum + memoryMiB, 0),
    };
    const { cpus, memoryMiB, reserveMiB, overcommit, slots } = description;
    const usable = memoryMiB - reserveMiB;
    const used = commitment.memoryMiB * 0.22;
    const free = usable * overcommit.memory - commitment.memoryMiB;
    return {
      hostId: id,
      at,
      microvms: here.length,
      slots: { total: slots, used: here.length },
      capacity: { cpus, memoryMiB, reserveMiB },
      commitment,
      used: {
        cpuCores: here.length * 0.004,
        memoryMiB: used,
        privateMiB: used * 0.9,
        overheadMiB: here.length * 0.41,
        hostMemoryMiB: used + 900,
      },
      overcommit: {
        cpu: commitment.vcpus / cpus,
        memory: commitment.memoryMiB / usable,
        cpuLimit: overcommit.cpu,
        memoryLimit: overcommit.memory,
      },
      headroom: {
        vcpus: cpus * overcommit.cpu - commitment.vcpus,
        memoryMiB: free,
        slots: slots - here.length,
        microvms: Math.min(slots - here.length, Math.floor(free / 64)),
      },
      vcpuWaitPercent: { p50: 0.2, p99: here.length / 80 },
      pressure: { cpuSome: here.length / 60, memorySome: 0.3, memoryFull: 0, ioSome: null },
      samplingCpuMs: 1.2,
      ...hostFigures(memoryMiB, at),
    };
  }

  #story(id: string): Story {
    const story = this.#stories.get(id);
    if (!story) throw new ScriptedRefusal(404, `there is no microVM ${id}`);
    return story;
  }

  /** A clock that never stands still, so that every step has an instant of its own. */
  #tick(): number {
    this.#now = Math.max(this.#now + 0.35, Date.now());
    return this.#now;
  }

  #later(work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, this.stepMs);
    this.#timers.add(timer);
  }

  #microvmEvents(id: string, events: MicrovmEvent[], cause: Cause, effects = true): void {
    const decision = decideEvents(this.#stories.get(id)?.life ?? null, events, {
      microvmId: id,
      commandId: randomUUID(),
      cause,
      at: this.#tick(),
    });
    // Facts that came too late change nothing, as in the controller.
    if (decision.kind === 'record') this.#record(id, decision.record, decision.advance, effects);
  }

  #record(
    id: string,
    record: MicrovmRecord,
    { effects, life: advanced }: Advance<MicrovmEffect>,
    perform = true,
  ): void {
    const sequence = ++this.#microvmSequence;
    const story = this.#stories.get(id);
    const life: MicrovmLife = { ...advanced, id, revision: sequence };
    if (story) {
      story.life = life;
      story.records.push({ record, sequence });
    } else {
      this.#stories.set(id, { life, records: [{ record, sequence }], receipts: [], log: '' });
    }
    this.#tell({ kind: 'microvm', sequence, microvm: viewMicrovm(life), record });
    if (perform) for (const effect of effects) this.#later(() => this.#perform(id, effect));
  }

  #perform(id: string, effect: MicrovmEffect): void {
    if (effect.type === 'place') return this.#place(id);
    const incarnation = { hostId: effect.hostId, epoch: effect.epoch };
    const cause: Cause = { kind: 'host', by: effect.hostId };
    switch (effect.type) {
      case 'startOnHost':
        return this.#start(id);
      case 'pauseOnHost':
        return this.#microvmEvents(id, [{ type: 'pausedOnHost', ...incarnation }], cause);
      case 'resumeOnHost':
        return this.#microvmEvents(id, [{ type: 'resumedOnHost', ...incarnation }], cause);
      case 'stopOnHost': {
        const exit = { reason: 'requested', message: 'powered off on request', at: this.#now } as const;
        this.write(id, 'canary: power button, powering off\n');
        return this.#microvmEvents(id, [{ type: 'exited', ...incarnation, exit }], cause);
      }
      case 'eraseOnHost':
        return this.#microvmEvents(id, [{ type: 'erased', ...incarnation }], cause);
      default:
    }
  }

  #place(id: string, wanted?: string, perform = true): void {
    const { epoch, image, vcpus, memoryMiB, tenant } = this.microvm(id);
    const at = this.#tick();
    const hosts = this.hosts();
    const ready = hosts.filter(({ state }) => state === 'ready');
    const chosen = wanted ?? ready[epoch % (ready.length || 1)]?.id ?? null;
    const receipt: Receipt = {
      id: randomUUID(),
      microvmId: id,
      epoch: epoch + 1,
      at,
      demand: { image, vcpus, memoryMiB, tenant, excluded: [] },
      hostId: chosen,
      reason: chosen === null ? 'no host is ready' : 'the most room of those sampled',
      hosts: hosts.map((host) => ({
        hostId: host.id,
        verdict: host.id === chosen ? 'chosen' : host.state === 'ready' ? 'scored' : 'filtered',
        filters: [
          {
            name: 'ready',
            passed: host.state === 'ready',
            detail: host.state === 'ready' ? '' : `host is ${host.state}`,
          },
          { name: 'image', passed: true, detail: '' },
          { name: 'memory', passed: true, detail: '' },
        ],
        scores:
          host.state === 'ready'
            ? [
                { name: 'memoryRoom', value: 0.61, weight: 2 },
                { name: 'cpuRoom', value: 0.44, weight: 1 },
              ]
            : [],
        total: host.state === 'ready' ? 1.66 : null,
      })),
      omitted: 0,
    };
    this.#story(id).receipts.push(receipt);
    const cause: Cause = { kind: 'placement', by: 'placement' };
    if (chosen === null) {
      return this.#microvmEvents(
        id,
        [{ type: 'placementFailed', reason: receipt.reason, receiptId: receipt.id, final: true }],
        cause,
      );
    }
    this.#microvmEvents(
      id,
      [{ type: 'placed', hostId: chosen, epoch: epoch + 1, receiptId: receipt.id, decidedAt: at }],
      cause,
      perform,
    );
  }

  #start(id: string): void {
    const { hostId, epoch, memoryMiB } = this.microvm(id);
    const at = this.#tick();
    const timings = {
      receivedAt: at,
      admittedAt: at + 0.21,
      launchedAt: at + 0.34,
      vmmEnteredAt: at + 0.92,
      guestRunAt: at + 1.48,
      guestBootedAt: at + 1.71,
    };
    this.#now += 2.2;
    this.write(id, `canary: booted with ${memoryMiB} MiB, 1 vCPU\ncanary: idle\n`);
    this.#microvmEvents(id, [{ type: 'started', hostId: hostId!, epoch, pid: this.#pid++, timings }], {
      kind: 'host',
      by: hostId!,
    });
  }

  #hostEvents(id: string, events: HostEvent[], cause: Cause): void {
    const decision = decideHostEvents(this.#hosts.get(id) ?? null, events, {
      hostId: id,
      commandId: randomUUID(),
      cause: cause.kind === 'operator' ? cause : CONTROLLER,
      at: this.#tick(),
    });
    if (decision.kind === 'refused')
      throw new ScriptedRefusal(409, `host ${id} is ${decision.state}: it cannot do that now`);
    if (decision.kind !== 'record') return;
    const sequence = ++this.#hostSequence;
    const life = foldHostRecord(this.#hosts.get(id) ?? null, decision.record, sequence);
    this.#hosts.set(id, life);
    this.#tell({ kind: 'host', sequence, host: viewHost(life), record: decision.record });
  }

  #tell(change: ScriptedChange): void {
    this.changes.push(change);
    for (const listener of this.#listeners) listener(change);
  }
}
