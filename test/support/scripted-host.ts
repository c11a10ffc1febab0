import type { NatsConnection, Subscription } from 'nats';
import { pino } from 'pino';
import { BusClient, connectNats } from '#bus';
import {
  Coresidency,
  densityReport,
  heartbeat,
  hostCommand,
  registerHost,
  reportFact,
  subjectFor,
  type DensityReport,
  type HostDescription,
  type MicrovmEvent,
  type Occupancy,
  type RequestOf,
} from '#protocol';

type Command = RequestOf<typeof hostCommand>;
type Fact = RequestOf<typeof reportFact>['fact'];

/**
 * What a scripted host says to a command. `accept`: yes, and does it when the test calls {@link ScriptedHost.obey}; `silent`: nothing at
 * all, as a host cut off would.
 */
export type Script = (command: Command, host: ScriptedHost) => 'obey' | 'accept' | 'silent' | { refuse: string };

export interface ScriptedHostOptions {
  /** Default 10,000. */
  slots?: number;
  labels?: Record<string, string>;
}

/**
 * A host that speaks the real protocol and runs nothing: obeys at once, unless its script says otherwise. For tests of the control
 * plane alone.
 */
export class ScriptedHost {
  /** All that came. A command whose answer was late comes again. */
  readonly commands: Command[] = [];
  readonly held = new Map<string, { epoch: number; as: 'starting' | 'running' | 'paused' | 'ended' }>();
  script: Script = () => 'obey';
  /** Most microVMs it takes at the moment. */
  slots: number;
  readonly #askers = new Map<string, Set<string>>();
  #factNumber = 0;
  readonly #starts: Extract<Command, { type: 'start' }>[] = [];
  /** microVMs whose start came since the last report. */
  readonly #answered: string[] = [];
  #timers: NodeJS.Timeout[] = [];
  #subscription: Subscription | undefined;

  private constructor(
    readonly id: string,
    private readonly nats: NatsConnection,
    readonly bus: BusClient,
    private readonly options: ScriptedHostOptions,
  ) {
    this.slots = options.slots ?? 10_000;
  }

  static async start(url: string, id: string, options: ScriptedHostOptions = {}): Promise<ScriptedHost> {
    const nats = await connectNats({ servers: url, name: `scripted-${id}` });
    const host = new ScriptedHost(id, nats, new BusClient(nats, pino({ level: 'silent' })), options);
    await host.connect();
    return host;
  }

  /** Registers, listens and keeps its lease. */
  async connect(): Promise<void> {
    this.#subscription = this.nats.subscribe(subjectFor(hostCommand.subject, { hostId: this.id }), {
      callback: (_, message) => {
        const answer = this.#take(message.json<Command>(), message.reply);
        if (answer) message.respond(JSON.stringify(answer));
      },
    });
    this.#report();
    await this.#persist(() => this.register());
    this.#timers = [
      setInterval(() => this.#report(), 300),
      setInterval(() => {
        this.bus
          .call(heartbeat, { hostId: this.id, at: Date.now() }, { values: { hostId: this.id } })
          .then(({ unknown }) => (unknown ? this.register() : undefined))
          .catch(() => undefined);
      }, 500),
    ];
  }

  /** Falls silent, as if its network were cut. */
  disconnect(): void {
    this.#timers.forEach(clearInterval);
    this.#subscription?.unsubscribe();
  }

  async close(): Promise<void> {
    this.disconnect();
    await this.nats.close();
  }

  async register(): Promise<void> {
    const inventory = [...this.held].map(([microvmId, { epoch, as }]) => ({ microvmId, epoch, as }));
    const values = { hostId: this.id };
    await this.bus.call(registerHost, { description: this.description(), inventory }, { values });
  }

  /** Reports a fact until it is answered; resolves with what the controller made of it. */
  async tell(microvmId: string, fact: Fact, factId = `${this.id}.${++this.#factNumber}`): Promise<boolean> {
    const { recorded } = await this.#persist(() =>
      this.bus.call(
        reportFact,
        { factId, microvmId, at: Date.now(), fact },
        { values: { hostId: this.id }, repeatAfterMs: 1_000 },
      ),
    );
    return recorded;
  }

  #take(command: Command, inbox = ''): { accepted: boolean; reason?: string } | undefined {
    this.commands.push(command);
    // Where it is to be answered is named after the connection that asks.
    const asked = this.#askers.get(command.microvmId) ?? new Set();
    this.#askers.set(command.microvmId, asked.add(inbox.slice(0, inbox.lastIndexOf('.'))));
    if (command.type === 'start') {
      this.#starts.push(command);
      this.#answered.push(command.microvmId);
    }
    const verdict = this.script(command, this);
    if (command.type === 'start' && verdict === 'obey' && this.#alive >= this.slots) {
      return { accepted: false, reason: 'no slot is free' };
    }
    if (verdict === 'silent') return undefined;
    if (typeof verdict === 'object') return { accepted: false, reason: verdict.refuse };
    // What it cannot tell because the test is over is nobody's business.
    if (verdict === 'obey') this.obey(command).catch(() => undefined);
    return { accepted: true };
  }

  /** Epochs of the starts of a microVM that were asked for, each once however often it was asked. */
  startsOf(id: string): number[] {
    const starts = this.commands.filter(({ type, microvmId }) => type === 'start' && microvmId === id);
    return [...new Set(starts.map(({ epoch }) => epoch))];
  }

  /** How many have sent commands for a microVM. */
  askersOf(id: string): number {
    return this.#askers.get(id)?.size ?? 0;
  }

  get #alive(): number {
    return [...this.held.values()].filter(({ as }) => as !== 'ended').length;
  }

  /** Does what the command asks and tells. */
  async obey({ type, microvmId, epoch }: Command): Promise<void> {
    const here = { hostId: this.id, epoch };
    const held = this.held.get(microvmId);
    const now = Date.now();
    const tell = (fact: MicrovmEvent) => this.tell(microvmId, fact);
    switch (type) {
      case 'start':
        this.held.set(microvmId, { epoch, as: 'running' });
        await tell({
          type: 'started',
          ...here,
          pid: 1,
          timings: {
            receivedAt: now,
            admittedAt: now,
            launchedAt: now,
            vmmEnteredAt: now,
            guestRunAt: now,
            guestBootedAt: now,
          },
        });
        return;
      case 'pause':
        if (held) held.as = 'paused';
        await tell({ type: 'pausedOnHost', ...here });
        return;
      case 'resume':
        if (held) held.as = 'running';
        await tell({ type: 'resumedOnHost', ...here });
        return;
      case 'stop':
        if (held) held.as = 'ended';
        await tell({ type: 'exited', ...here, exit: { reason: 'requested', message: 'stopped', at: now } });
        return;
      case 'expire':
      case 'snapshot':
      case 'suspend':
        return; // it lets nothing expire, and has no memory to write down
      case 'erase':
        this.held.delete(microvmId);
        await tell({ type: 'erased', ...here });
        return;
      case 'verify':
        if (!held || held.epoch !== epoch) await tell({ type: 'absent', ...here, reason: 'not here' });
        else if (held.as === 'ended')
          await tell({ type: 'exited', ...here, exit: { reason: 'killed', message: 'was killed', at: now } });
        else await tell({ type: 'observed', ...here, as: held.as, reason: 'asked' });
    }
  }

  async #persist<T>(work: () => Promise<T>): Promise<T> {
    for (const until = Date.now() + 20_000; ;) {
      try {
        return await work();
      } catch (error) {
        if (Date.now() > until || this.nats.isClosed()) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  description(): HostDescription {
    return {
      hostId: this.id,
      hostname: this.id,
      kernel: 'scripted',
      agentVersion: '0.1.0',
      bootId: 'boot',
      kvm: { available: true, kind: 'software' },
      cpus: 64,
      memoryMiB: 1_000_000,
      reserveMiB: 0,
      slots: 10_000,
      overcommit: { cpu: 100, memory: 1 },
      images: ['canary'],
      labels: this.options.labels ?? {},
    };
  }

  #occupancy(): Occupancy {
    const here = this.#starts.filter(({ microvmId, epoch }) => this.held.get(microvmId)?.epoch === epoch);
    return {
      tenants: here.map(({ spec, coresidency }) => ({
        tenant: spec.tenant ?? 'default',
        microvms: 1,
        coresidency: Coresidency.parse(coresidency ?? {}),
      })),
      groups: [],
      images: [],
      answered: this.#answered.splice(0),
    };
  }

  #report(): void {
    const alive = this.#alive;
    const report: DensityReport = {
      hostId: this.id,
      at: Date.now(),
      microvms: alive,
      slots: { total: this.slots, used: alive },
      capacity: { cpus: 64, memoryMiB: 1_000_000, reserveMiB: 0 },
      commitment: { vcpus: 0, memoryMiB: 0 },
      used: { cpuCores: 0, memoryMiB: 0, privateMiB: 0, overheadMiB: 0, hostMemoryMiB: 0 },
      overcommit: { cpu: 0, memory: 0, cpuLimit: 100, memoryLimit: 1 },
      headroom: { vcpus: 6_400, memoryMiB: 1_000_000, slots: Math.max(0, this.slots - alive), microvms: 10_000 },
      vcpuWaitPercent: { p50: 0, p99: 0 },
      pressure: { cpuSome: 0, memorySome: 0, memoryFull: 0, ioSome: 0 },
      samplingCpuMs: 0,
      occupancy: this.#occupancy(),
    };
    this.bus.publish(densityReport(this.id), report);
  }
}
