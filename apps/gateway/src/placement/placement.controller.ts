import { Controller, Inject } from '@nestjs/common';
import { BusClient } from '#bus';
import { dryRunPlacement, whatIf } from '#protocol';
import { TenantDirectory } from '#tenancy';
import { Input, Serves, type InputOf } from '../http/route';
import { dryRunClone } from './dry-run-clone';
import { dryRunRoute, whatIfRoute } from './placement.routes';

/** Placement over REST. */
@Controller()
export class PlacementController {
  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(TenantDirectory) private readonly tenants: TenantDirectory,
  ) {}

  @Serves(dryRunRoute)
  async dryRun(@Input(dryRunRoute) { body }: InputOf<typeof dryRunRoute>) {
    const placements = await Promise.all(
      body.placements.map(async ({ coresidency, ...placement }) => ({
        ...placement,
        ...(placement.template ? {} : await dryRunClone(this.bus, placement.spec)),
        coresidency: coresidency ?? this.tenants.coresidencyOf(placement.spec.tenant),
      })),
    );
    return this.bus.call(dryRunPlacement, { ...body, placements });
  }

  @Serves(whatIfRoute)
  whatIf(@Input(whatIfRoute) { body }: InputOf<typeof whatIfRoute>) {
    return this.bus.call(whatIf, { ...body, to: body.to ?? Date.now() });
  }
}
