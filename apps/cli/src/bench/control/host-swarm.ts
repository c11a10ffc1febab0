import { setTimeout as pause } from 'node:timers/promises';
import type { Subscription } from 'nats';
import type { z } from 'zod';
import type { BusClient } from '#bus';
import {
  densityReport,
  heartbeat,
  hostCommand,
  registerHost,
  reportFact,
  SHARED,
  type DensityReport,
  type HostDescription,
  type HostFact,
} from '#protocol';
import { Admission, demandOf, headroomOf, overcommitRatio, type Admitted, type Capacity } from '#scheduling';

/** What controllers send is whole. */
type Command = z.output<(typeof hostCommand)['request']>;

const REPORT_MS = 1_000;
const RETRY_MS = 200;

/** What a host that runs nothing has to say of what it measures. */
const NOTHING_MEASURED: Pick<DensityReport, 'used' | 'vcpuWaitPercent' | 'pressure' | 'samplingCpuMs'> = {
  used: { cpuCores: 0, memoryMiB: 0, privateMiB: 0, overheadMiB: 0, hostMemoryMiB: 0 },
  vcpuWaitPercent: { p50: 0, p99: 0 },
  pressure: { cpuSome: 0, memorySome: 0, memoryFull: 0, ioSome: 0 },
  samplingCpuMs: 0,
};

interface SwarmHost {
  readonly id: string;
  readonly admission: Admission;
  /** What runs there, by microVM; and what ends it by its time to live. */
  readonly running: Map<string, { epoch: number; expiry?: NodeJS.Timeout | undefined }>;
  /** Starts answered since the last report. */
  readonly answered: string[];
}

/**
 * Hosts that speak the real protocol and run nothing, many on one connection: they admit by the books of real hosts, obey at once, end what has
 * expired, tell their facts until they are taken, keep their leases and report their density. The load that a control plane gets from a large fleet, without the fleet.
 */
export class HostSwarm {
  readonly #hosts: Map<string, SwarmHost>;
  #facts = 0;
  #heartbeatMs = 1_000;
  #stopped = false;
  #commands: Subscription | undefined;

  constructor(
    private readonly bus: BusClient,
    ids: readonly string[],
    /** What each of them has, and how far it promises it. */
    private readonly capacity: Capacity,
  ) {
    const host = (id: string): SwarmHost => ({
      ...{ id, admission: new Admission(capacity), running: new Map(), answered: [] },
    });
    this.#hosts = new Map(ids.map((id) => [id, host(id)]));
  }

  /** Resolves when all of them are taken in. */
  async start(): Promise<void> {
    const hosts = [...this.#hosts.values()];
    this.#commands = this.bus.connection.subscribe(hostCommand.subject.replace('{hostId}', '*'), {
      callback: (error, message) => {
        const host = this.#hosts.get(message.subject.split('.')[3]!);
        if (error || !host) return; // another swarm's
        const command = message.json<Command>();
        const { admitted: accepted, ...why } = this.#admit(host, command);
        message.respond(JSON.stringify({ accepted, ...why }));
        // What it cannot tell because the swarm is over is nobody's business.
        if (accepted) this.#obey(host, command).catch(() => undefined);
      },
    });
    await this.bus.connection.flush();
    for (let i = 0; i < hosts.length; i += 50) {
      await Promise.all(hosts.slice(i, i + 50).map((host) => this.#register(host)));
    }
    // Spread over the interval, as hosts that started at different times are.
    hosts.forEach((host, i) => {
      void this.#keep((i / hosts.length) * REPORT_MS, REPORT_MS, () => this.#report(host));
      void this.#keep((i / hosts.length) * REPORT_MS, this.#heartbeatMs, () => this.#beat(host));
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#commands?.unsubscribe();
    for (const { running } of this.#hosts.values()) for (const { expiry } of running.values()) clearTimeout(expiry);
  }

  async #keep(offsetMs: number, everyMs: number, work: () => Promise<void> | void): Promise<void> {
    await pause(offsetMs);
    while (!this.#stopped) {
      await work();
      await pause(everyMs);
    }
  }

  async #register(host: SwarmHost): Promise<void> {
    const inventory = [...host.running].map(([microvmId, { epoch }]) => ({ microvmId, epoch, as: 'running' as const }));
    const { heartbeatMs } = await this.#persist(() =>
      this.bus.call(registerHost, { description: this.#describe(host.id), inventory }, { values: { hostId: host.id } }),
    );
    this.#heartbeatMs = heartbeatMs;
  }

  async #beat(host: SwarmHost): Promise<void> {
    const answer = await this.bus
      .call(heartbeat, { hostId: host.id, at: Date.now() }, { values: { hostId: host.id } })
      .catch(() => undefined);
    if (answer?.unknown) await this.#register(host);
  }

  #admit(host: SwarmHost, command: Command): Admitted {
    if (command.type !== 'start') return { admitted: true };
    host.answered.push(command.microvmId);
    return host.admission.request(command.microvmId, demandOf(command.spec, command.coresidency ?? SHARED, []));
  }

  async #obey(host: SwarmHost, command: Command): Promise<void> {
    const { type, microvmId, epoch } = command;
    const here = { hostId: host.id, epoch };
    switch (type) {
      case 'start': {
        const at = Date.now();
        const expiry =
          command.expiresAt === undefined
            ? undefined
            : setTimeout(() => void this.#expire(host, microvmId, epoch), command.expiresAt - at);
        host.running.set(microvmId, { epoch, expiry });
        const timings = {
          ...{ receivedAt: at, admittedAt: at, launchedAt: at },
          ...{ vmmEnteredAt: at, guestRunAt: at, guestBootedAt: at },
        };
        return this.#tell(host, microvmId, { type: 'started', ...here, pid: 1, timings });
      }
      case 'erase':
        this.#end(host, microvmId);
        return this.#tell(host, microvmId, { type: 'erased', ...here });
      case 'verify':
        return host.running.get(microvmId)?.epoch === epoch
          ? this.#tell(host, microvmId, { type: 'observed', ...here, as: 'running', reason: 'asked' })
          : this.#tell(host, microvmId, { type: 'absent', ...here, reason: 'asked' });
      default: // this load stops, pauses and resumes nothing
    }
  }

  async #expire(host: SwarmHost, microvmId: string, epoch: number): Promise<void> {
    this.#end(host, microvmId);
    const exit = { reason: 'expired' as const, message: 'its time to live is over', at: Date.now() };
    await this.#tell(host, microvmId, { type: 'exited', hostId: host.id, epoch, exit }).catch(() => undefined);
  }

  #end(host: SwarmHost, microvmId: string): void {
    clearTimeout(host.running.get(microvmId)?.expiry);
    host.running.delete(microvmId);
    host.admission.release(microvmId);
  }

  async #tell(host: SwarmHost, microvmId: string, fact: HostFact): Promise<void> {
    const request = { factId: `${host.id}.${++this.#facts}`, microvmId, at: Date.now(), fact };
    await this.#persist(() =>
      this.bus.call(reportFact, request, { values: { hostId: host.id }, repeatAfterMs: 1_000 }),
    );
  }

  async #persist<T>(attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (this.#stopped) throw error;
        await pause(RETRY_MS);
      }
    }
  }

  #report({ id, admission, answered }: SwarmHost): void {
    const { capacity } = this;
    const { cpus, memoryMiB, reserveMiB, slots } = capacity;
    const commitment = admission.commitment();
    const report: DensityReport = {
      hostId: id,
      at: Date.now(),
      microvms: admission.count,
      slots: { total: slots, used: admission.count },
      capacity: { cpus, memoryMiB, reserveMiB },
      commitment,
      overcommit: {
        cpu: overcommitRatio(commitment.vcpus, cpus),
        memory: overcommitRatio(commitment.memoryMiB, memoryMiB, reserveMiB),
        ...{ cpuLimit: capacity.overcommit.cpu, memoryLimit: capacity.overcommit.memory },
      },
      headroom: headroomOf(capacity, commitment, admission.count),
      ...NOTHING_MEASURED,
      occupancy: {
        tenants: admission.occupants().map(({ tenant, count: microvms }) => ({ tenant, microvms })),
        groups: [],
        images: [],
        answered: answered.splice(0),
      },
    };
    this.bus.publish(densityReport(id), report);
  }

  #describe(hostId: string): HostDescription {
    const { cpus, memoryMiB, reserveMiB, slots, overcommit } = this.capacity;
    return {
      hostId,
      hostname: hostId,
      kernel: 'none',
      agentVersion: 'swarm',
      bootId: hostId,
      kvm: { available: true, kind: 'hardware' },
      ...{ cpus, memoryMiB, reserveMiB, slots, overcommit },
      images: ['canary'],
      labels: {},
    };
  }
}
