import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles } from '#bus';
import { wallClockMs } from '#journal';
import { dryRunPlacement, fleetDensity, placementOf, placeMicrovm, whatIf, type Operation } from '#protocol';
import { DecidePlacement } from './decisions/decide-placement';
import { DryRun } from './decisions/dry-run';
import { sumDensity } from './hosts/fleet-density';
import { HostWatch } from './hosts/host-watch';
import { Receipts } from './receipts/receipts';
import { WhatIf } from './what-if/what-if';

type RequestTo<O extends Operation> = z.output<O['request']>;

/** The placement service's messages. */
@Controller()
export class PlacementController {
  constructor(
    private readonly decidePlacement: DecidePlacement,
    private readonly dryRun: DryRun,
    private readonly receipts: Receipts,
    private readonly hosts: HostWatch,
    private readonly whatIf: WhatIf,
  ) {}

  @Handles(placeMicrovm)
  place(request: RequestTo<typeof placeMicrovm>) {
    return this.decidePlacement.execute(request);
  }

  @Handles(dryRunPlacement)
  tryOut(request: RequestTo<typeof dryRunPlacement>) {
    return { receipts: this.dryRun.execute(request) };
  }

  @Handles(placementOf)
  async receiptsOf({ microvmId, receiptId }: RequestTo<typeof placementOf>) {
    return { receipts: await this.receipts.of(microvmId, receiptId) };
  }

  @Handles(whatIf)
  answer(question: RequestTo<typeof whatIf>) {
    return this.whatIf.execute(question);
  }

  @Handles(fleetDensity)
  density() {
    return sumDensity(this.hosts.book.reports(), wallClockMs());
  }
}
