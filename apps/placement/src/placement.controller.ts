import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles } from '#bus';
import { wallClockMs } from '#journal';
import { fleetDensity, placementOf, placeMicrovm } from '#protocol';
import { DecidePlacement } from './decide-placement';
import { sumDensity } from './fleet-density';
import { HostTable } from './host-table';

/** The placement service's messages. */
@Controller()
export class PlacementController {
  constructor(
    private readonly decidePlacement: DecidePlacement,
    private readonly table: HostTable,
  ) {}

  @Handles(placeMicrovm)
  async place(request: z.output<(typeof placeMicrovm)['request']>) {
    return { receipt: await this.decidePlacement.execute(request) };
  }

  @Handles(placementOf)
  async receipts({ microvmId }: z.output<(typeof placementOf)['request']>) {
    return { receipts: await this.decidePlacement.receiptsOf(microvmId) };
  }

  @Handles(fleetDensity)
  density() {
    return sumDensity(this.table.reports(), wallClockMs());
  }
}
