import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { BusClient, LOGGER, NATS } from '#bus';
import { openHostJournal } from '#fleet';
import type { Follower } from '#journal';
import { foldHostRecord, hostContext, hostState, type HostLife } from '#lifecycle';
import { densityReport, DensityReport } from '#protocol';
import type { Candidate } from '#scheduling';

interface InFlight {
  vcpus: number;
  memoryMiB: number;
  /** When it was placed, ms of the monotonic clock. */
  at: number;
}

/** A placement is taken off the host's headroom for this long; by then the host's own reports count it. */
const IN_FLIGHT_MS = 3_000;
/** From a decision to its admission on the host: more than a start command takes when all is well. */
const REPORTED_AFTER_MS = 500;

/** Hosts as their histories and their latest reports show them, less what was placed and is not in a report yet. */
@Injectable()
export class HostTable implements OnModuleInit, OnModuleDestroy {
  readonly #lives = new Map<string, HostLife>();
  readonly #reports = new Map<string, { report: DensityReport; at: number }>();
  readonly #inFlight = new Map<string, InFlight[]>();
  #follower: Follower | undefined;

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    private readonly bus: BusClient,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    this.bus.subscribe(densityReport('*'), (report: DensityReport) => this.#onReport(report), {
      schema: DensityReport,
    });
    const skip = (subject: string, sequence: number, error: unknown): void =>
      this.logger.error({ subject, sequence, err: error }, 'a record of a host is skipped');
    const journal = await openHostJournal(this.nats, ({ subject, sequence, error }) => skip(subject, sequence, error));
    this.#follower = journal.follow({
      onFailure: (error) => {
        throw error; // uncaught on purpose: a restart folds anew
      },
      onRecord: ({ record, sequence, subject }) => {
        try {
          this.#lives.set(record.hostId, foldHostRecord(this.#lives.get(record.hostId) ?? null, record, sequence));
        } catch (error) {
          skip(subject, sequence, error);
        }
      },
    });
    await this.#follower.caughtUp;
  }

  onModuleDestroy(): void {
    this.#follower?.close();
  }

  reports(): DensityReport[] {
    return [...this.#reports.values()]
      .filter(({ report }) => !['lost', 'retired'].includes(this.#stateOf(report.hostId) ?? 'retired'))
      .map(({ report }) => report)
      .sort((a, b) => (a.hostId < b.hostId ? -1 : 1));
  }

  /** Every host that is not gone for good. */
  candidates(): Candidate[] {
    const now = performance.now();
    return [...this.#lives.values()]
      .filter((life) => hostState(life) !== 'retired')
      .map((life) => this.#candidate(life, now));
  }

  /** Takes a placement off its host's headroom until the host reports it. */
  debit(hostId: string, vcpus: number, memoryMiB: number): void {
    const list = this.#inFlight.get(hostId) ?? [];
    list.push({ vcpus, memoryMiB, at: performance.now() });
    this.#inFlight.set(hostId, list);
  }

  #stateOf(hostId: string): string | undefined {
    const life = this.#lives.get(hostId);
    return life && hostState(life);
  }

  #onReport(report: DensityReport): void {
    const now = performance.now();
    this.#reports.set(report.hostId, { report, at: now });
    // What was placed well before this report is in it, or was refused.
    const inFlight = this.#inFlight.get(report.hostId)?.filter(({ at }) => now - at < REPORTED_AFTER_MS);
    if (inFlight?.length) this.#inFlight.set(report.hostId, inFlight);
    else this.#inFlight.delete(report.hostId);
  }

  #candidate(life: HostLife, now: number): Candidate {
    const { description } = hostContext(life);
    const known = this.#reports.get(life.id);
    const inFlight = this.#unreported(life.id, now);
    const headroom = known?.report.headroom ?? { slots: 0, vcpus: 0, memoryMiB: 0 };
    const { cpuSome, memorySome, ioSome } = known?.report.pressure ?? { cpuSome: 0, memorySome: 0, ioSome: 0 };
    const usable = (description?.memoryMiB ?? 0) - (description?.reserveMiB ?? 0);
    return {
      hostId: life.id,
      ready: hostState(life) === 'ready',
      state: hostState(life),
      kvmAvailable: description?.kvm.available ?? false,
      images: description?.images ?? [],
      linux: description?.linux?.available ?? false,
      network: description?.network?.available ?? false,
      reportAgeMs: known ? now - known.at : null,
      free: {
        slots: headroom.slots - inFlight.slots,
        vcpus: headroom.vcpus - inFlight.vcpus,
        memoryMiB: headroom.memoryMiB - inFlight.memoryMiB,
      },
      capacity: {
        slots: description?.slots ?? 0,
        vcpus: (description?.cpus ?? 0) * (description?.overcommit.cpu ?? 1),
        memoryMiB: usable * (description?.overcommit.memory ?? 1),
      },
      pressurePercent: Math.max(cpuSome ?? 0, memorySome ?? 0, ioSome ?? 0),
    };
  }

  #unreported(hostId: string, now: number): { slots: number; vcpus: number; memoryMiB: number } {
    const list = this.#inFlight.get(hostId);
    const sum = { slots: 0, vcpus: 0, memoryMiB: 0 };
    if (!list) return sum;
    let expired = 0;
    while (expired < list.length && now - list[expired]!.at > IN_FLIGHT_MS) expired++;
    if (expired > 0) list.splice(0, expired);
    for (const { vcpus, memoryMiB } of list) {
      sum.slots++;
      sum.vcpus += vcpus;
      sum.memoryMiB += memoryMiB;
    }
    return sum;
  }
}
