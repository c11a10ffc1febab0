import { setTimeout as pause } from 'node:timers/promises';
import type { BusClient } from '#bus';
import {
  densityReport,
  heartbeat,
  hostCommand,
  registerHost,
  reportFact,
  type DensityReport,
  type HostDescription,
  type HostFact,
  type RequestOf,
} from '#protocol';

type Command = RequestOf<typeof hostCommand>;

const REPORT_MS = 1_000;
const RETRY_MS = 200;
const MEMORY_MIB = 65_536;
const SLOTS = 400;
const CPUS = 16;

/** What a host that runs nothing has to say of what it measures. */
const NOTHING_MEASURED: Pick<DensityReport, 'used' | 'vcpuWaitPercent' | 'pressure' | 'samplingCpuMs'> = {
  used: { cpuCores: 0, memoryMiB: 0, privateMiB: 0, overheadMiB: 0, hostMemoryMiB: 0 },
  vcpuWaitPercent: { p50: 0, p99: 0 },
  pressure: { cpuSome: 0, memorySome: 0, memoryFull: 0, ioSome: 0 },
  samplingCpuMs: 0,
};

interface SwarmHost {
  readonly id: string;
  /** Epochs of what runs there, by microVM. */
  readonly running: Map<string, number>;
  /** Starts answered since the last report. */
  answered: string[];
}

/**
 * Hosts that speak the real protocol and run nothing, many on one connection: they obey at once, tell their facts until they are taken,
 * keep their leases and report their density. The load that a control plane gets from a large fleet, without the fleet.
 */
export class HostSwarm {
  readonly #hosts: Map<string, SwarmHost>;
  #facts = 0;
  #heartbeatMs = 1_000;
  #stopped = false;

  constructor(
    private readonly bus: BusClient,
    ids: readonly string[],
    private readonly vcpusPerCpu: number,
  ) {
    this.#hosts = new Map(ids.map((id) => [id, { id, running: new Map(), answered: [] }]));
  }

  /** Resolves when all of them are taken in. */
  async start(): Promise<void> {
    const hosts = [...this.#hosts.values()];
    this.bus.connection.subscribe(hostCommand.subject.replace('{hostId}', '*'), {
      callback: (error, message) => {
        const host = this.#hosts.get(message.subject.split('.')[3]!);
        if (error || !host) return; // another swarm's
        message.respond('{"accepted":true}');
        void this.#obey(host, message.json<Command>());
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
  }

  async #keep(offsetMs: number, everyMs: number, work: () => Promise<void> | void): Promise<void> {
    await pause(offsetMs);
    while (!this.#stopped) {
      await work();
      await pause(everyMs);
    }
  }

  async #register(host: SwarmHost): Promise<void> {
    const inventory = [...host.running].map(([microvmId, epoch]) => ({ microvmId, epoch, as: 'running' as const }));
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

  async #obey(host: SwarmHost, { type, microvmId, epoch }: Command): Promise<void> {
    const here = { hostId: host.id, epoch };
    switch (type) {
      case 'start': {
        host.running.set(microvmId, epoch);
        host.answered.push(microvmId);
        const at = Date.now();
        const timings = {
          ...{ receivedAt: at, admittedAt: at, launchedAt: at },
          ...{ vmmEnteredAt: at, guestRunAt: at, guestBootedAt: at },
        };
        return this.#tell(host, microvmId, { type: 'started', ...here, pid: 1, timings });
      }
      case 'erase':
        host.running.delete(microvmId);
        return this.#tell(host, microvmId, { type: 'erased', ...here });
      case 'verify':
        return host.running.get(microvmId) === epoch
          ? this.#tell(host, microvmId, { type: 'observed', ...here, as: 'running', reason: 'asked' })
          : this.#tell(host, microvmId, { type: 'absent', ...here, reason: 'asked' });
      default: // this load stops, pauses and resumes nothing
    }
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

  #report(host: SwarmHost): void {
    const used = host.running.size;
    const vcpus = CPUS * this.vcpusPerCpu;
    const report: DensityReport = {
      hostId: host.id,
      at: Date.now(),
      microvms: used,
      slots: { total: SLOTS, used },
      capacity: { cpus: CPUS, memoryMiB: MEMORY_MIB, reserveMiB: 0 },
      commitment: { vcpus: used, memoryMiB: used * 4 },
      overcommit: { cpu: used / CPUS, memory: (used * 4) / MEMORY_MIB, cpuLimit: this.vcpusPerCpu, memoryLimit: 1 },
      headroom: { vcpus: vcpus - used, memoryMiB: MEMORY_MIB - used * 4, slots: SLOTS - used, microvms: SLOTS - used },
      ...NOTHING_MEASURED,
      occupancy: {
        tenants: used > 0 ? [{ tenant: 'default', microvms: used }] : [],
        groups: [],
        images: [],
        answered: host.answered,
      },
    };
    host.answered = [];
    this.bus.publish(densityReport(host.id), report);
  }

  #describe(hostId: string): HostDescription {
    return {
      hostId,
      hostname: hostId,
      kernel: 'none',
      agentVersion: 'swarm',
      bootId: hostId,
      kvm: { available: true, kind: 'hardware' },
      cpus: CPUS,
      memoryMiB: MEMORY_MIB,
      reserveMiB: 0,
      slots: SLOTS,
      overcommit: { cpu: this.vcpusPerCpu, memory: 1 },
      images: ['canary'],
      labels: {},
    };
  }
}
