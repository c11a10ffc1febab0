import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import { setImmediate as turn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { Pacer } from '#concurrency';
import { StepGatherer } from '#density';
import { openDensityJournals } from '#fleet';
import { wallClockMs } from '#journal';
import {
  DENSITY_MINUTES_STREAM,
  DENSITY_RECENT_STREAM,
  type DensityHistory,
  type DensityResolution,
  type DensityScope,
  type FleetDensity,
  type KeptFigure,
  type TenantUsage,
} from '#protocol';
import { HostWatch } from '../hosts/host-watch';
import { DensityStore, type HistoryQuery } from './density-store';
import { sumDensity } from './fleet-density';
import { figuresOfFleet, figuresOfHost, figuresOfTenant } from './kept-figures';
import { TenantUsages } from './tenant-usage';

/** How often everything is read, ms. */
const READ_MS = 1_000;
/** Hosts that are read in one go, and points that are being stored at a time: placements are decided in between. */
const HOSTS_EACH_TURN = 32;
const STORED_AT_ONCE = 8;
const STEPS: readonly [DensityResolution, number][] = [
  ['recent', DENSITY_RECENT_STREAM.stepMs],
  ['minutes', DENSITY_MINUTES_STREAM.stepMs],
];

interface Gathering {
  scope: DensityScope;
  resolution: DensityResolution;
  step: StepGatherer;
}

/** Sums the hosts' reports, and keeps them: of the fleet, of every host and of the largest tenants. */
@Injectable()
export class DensityRecorder implements OnModuleInit, OnModuleDestroy {
  readonly #tenants = new TenantUsages();
  readonly #gathering = new Map<string, Gathering>();
  readonly #pacer = new Pacer(STORED_AT_ONCE);
  #store!: DensityStore;
  #isReading = false;
  #timer: NodeJS.Timeout | undefined;
  #isFailing = false;

  constructor(
    private readonly hosts: HostWatch,
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#store = new DensityStore(await openDensityJournals(this.nats));
    this.hosts.onReport((report) => this.#tenants.reported(report, wallClockMs()));
    this.#timer = setInterval(() => void this.#readInTurn(), READ_MS);
    this.#timer.unref();
  }

  onModuleDestroy(): void {
    clearInterval(this.#timer);
  }

  fleet(): FleetDensity {
    const now = wallClockMs();
    return { ...sumDensity(this.hosts.book.reports(), now), tenants: this.#tenants.largest(now) };
  }

  tenant(tenant: string): TenantUsage {
    return this.#tenants.of(tenant, wallClockMs());
  }

  /** @throws OperationError `invalid`, `unavailable` */
  history(query: HistoryQuery): Promise<DensityHistory> {
    return this.#store.read(query, wallClockMs());
  }

  async #readInTurn(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    await this.#read(wallClockMs()).finally(() => (this.#isReading = false));
  }

  async #read(now: number): Promise<void> {
    const fleet = this.fleet();
    if (fleet.hosts.length > 0) this.#gather({ kind: 'fleet' }, figuresOfFleet(fleet), now);
    for (const [n, report] of fleet.hosts.entries()) {
      if (n % HOSTS_EACH_TURN === 0) await turn();
      this.#gather({ kind: 'host', hostId: report.hostId }, figuresOfHost(report), now);
    }
    for (const usage of fleet.tenants ?? []) {
      this.#gather({ kind: 'tenant', tenant: usage.tenant }, figuresOfTenant(usage), now);
    }
    // Whoever is gone gets no more readings, and its last step is over all the same.
    for (const [key, { resolution, scope, step }] of this.#gathering) {
      const [, stepMs] = STEPS.find(([name]) => name === resolution)!;
      if (now < step.at + stepMs) continue;
      this.#gathering.delete(key);
      this.#keep(resolution, scope, step);
    }
  }

  #gather(scope: DensityScope, figures: Partial<Record<KeptFigure, number>>, now: number): void {
    for (const [resolution, stepMs] of STEPS) {
      const at = Math.floor(now / stepMs) * stepMs;
      const key = `${resolution} ${JSON.stringify(scope)}`;
      let gathering = this.#gathering.get(key);
      if (gathering && gathering.step.at !== at) {
        this.#keep(resolution, scope, gathering.step);
        gathering = undefined;
      }
      if (!gathering) this.#gathering.set(key, (gathering = { scope, resolution, step: new StepGatherer(at) }));
      gathering.step.add(figures);
    }
  }

  /** A point that cannot be stored is missing; the first one in a row is told. */
  #keep(resolution: DensityResolution, scope: DensityScope, step: StepGatherer): void {
    if (this.nats.isClosed() || this.nats.isDraining()) return;
    const point = step.point();
    const store = (): Promise<void> => this.#store.append(resolution, scope, point);
    this.#pacer.run(store).then(
      () => (this.#isFailing = false),
      (error: unknown) => {
        if (!this.#isFailing) this.logger.warn({ err: error }, 'density cannot be kept');
        this.#isFailing = true;
      },
    );
  }
}
