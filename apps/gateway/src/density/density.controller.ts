import { Controller, Inject } from '@nestjs/common';
import { BusClient } from '#bus';
import { Pacer } from '#concurrency';
import { wallClockMs } from '#journal';
import {
  densityHistory,
  fleetDensity,
  measureMicrovm,
  OperationError,
  tenantDensity,
  type DensityHistory,
  type DensityScope,
  type Microvm,
  type MicrovmDensity,
} from '#protocol';
import { TenantDirectory, type Principal } from '#tenancy';
import { Input, Serves, type InputOf } from '../http/route';
import { filterOf } from '../microvms/list-filter';
import { requireOwn, VisibleFleet } from '../tenancy/visible-fleet';
import * as routes from './density.routes';

const RECENT_MS = 3_600_000;
/** MicroVMs of a page that are measured at a time, and when what is not measured by then is left out, ms. */
const MEASURED_AT_ONCE = 16;
const PAGE_MS = 5_000;

type Query = InputOf<typeof routes.densityRoute>['query'];

/** Density over REST. */
@Controller()
export class DensityController {
  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(VisibleFleet) private readonly visible: VisibleFleet,
    @Inject(TenantDirectory) private readonly tenants: TenantDirectory,
  ) {}

  @Serves(routes.densityRoute)
  async fleet(@Input(routes.densityRoute) { query }: InputOf<typeof routes.densityRoute>) {
    const density = await this.bus.call(fleetDensity, {});
    return { ...density, ...(await this.#history({ kind: 'fleet' }, query)) };
  }

  @Serves(routes.hostDensityRoute)
  async host(@Input(routes.hostDensityRoute) { params, query }: InputOf<typeof routes.hostDensityRoute>) {
    const { hosts } = await this.bus.call(fleetDensity, {});
    const host = hosts.find(({ hostId }) => hostId === params.id);
    if (!host) throw new OperationError('notFound', `no host ${params.id} reports its density`);
    return { host, ...(await this.#history({ kind: 'host', hostId: params.id }, query)) };
  }

  @Serves(routes.tenantDensityRoute)
  async tenant(@Input(routes.tenantDensityRoute) { who, params, query }: InputOf<typeof routes.tenantDensityRoute>) {
    requireOwn(who, params.id);
    const tenant = await this.bus.call(tenantDensity, { tenant: params.id });
    // Whoever was here before tenants were put on record may have microVMs all the same.
    if (tenant.microvms === 0 && !this.tenants.get(params.id)) {
      throw new OperationError('notFound', `there is no tenant ${params.id}`);
    }
    return { tenant, ...(await this.#history({ kind: 'tenant', tenant: params.id }, query)) };
  }

  @Serves(routes.microvmDensityRoute)
  async microvm(
    @Input(routes.microvmDensityRoute) { who, params }: InputOf<typeof routes.microvmDensityRoute>,
  ): Promise<MicrovmDensity> {
    const { hostId } = await this.visible.find(who, params.id);
    const nowhere = new OperationError('notFound', `microVM ${params.id} does not run, so there is nothing to measure`);
    if (hostId === null) throw nowhere;
    return this.bus.call(measureMicrovm, { microvmId: params.id }, { values: { hostId } }).catch((error: unknown) => {
      // What the host says of it names the host.
      throw error instanceof OperationError && error.code === 'notFound' ? nowhere : error;
    });
  }

  @Serves(routes.microvmsDensityRoute)
  async microvms(@Input(routes.microvmsDensityRoute) { who, query }: InputOf<typeof routes.microvmsDensityRoute>) {
    const { items, nextCursor } = this.visible.list(who, filterOf(query));
    const pacer = new Pacer(MEASURED_AT_ONCE);
    const end = performance.now() + PAGE_MS;
    const measured = items.map(async (microvm) => {
      const density = await pacer.run(() => this.#measured(who, microvm, end - performance.now()));
      return { microvm, density };
    });
    return { items: await Promise.all(measured), nextCursor };
  }

  /** Null: it runs nowhere, or its host does not answer. */
  async #measured(who: Principal, { id: microvmId }: Microvm, leftMs: number): Promise<MicrovmDensity | null> {
    if (leftMs <= 0) return null;
    try {
      // What a list shows a tenant does not name the host.
      const { hostId } = await this.visible.find(who, microvmId);
      if (hostId === null) return null;
      return await this.bus.call(measureMicrovm, { microvmId }, { values: { hostId }, deadlineMs: leftMs });
    } catch (error) {
      if (error instanceof OperationError) return null;
      throw error;
    }
  }

  async #history(scope: DensityScope, { from, to, step }: Query): Promise<{ history?: DensityHistory }> {
    if (from === undefined && to === undefined && step === undefined) return {};
    const end = to ?? wallClockMs();
    const query = { scope, from: from ?? end - RECENT_MS, to: end, ...(step === undefined ? {} : { stepMs: step }) };
    return { history: await this.bus.call(densityHistory, query) };
  }
}
