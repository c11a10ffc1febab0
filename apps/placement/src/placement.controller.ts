import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles } from '#bus';
import {
  densityHistory,
  dryRunPlacement,
  fleetDensity,
  placementOf,
  placeMicrovm,
  tenantDensity,
  whatIf,
  type Operation,
} from '#protocol';
import { DecidePlacement } from './decisions/decide-placement';
import { DryRun } from './decisions/dry-run';
import { DensityRecorder } from './density/density-recorder';
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
    private readonly recorder: DensityRecorder,
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
    return this.recorder.fleet();
  }

  @Handles(tenantDensity)
  densityOf({ tenant }: RequestTo<typeof tenantDensity>) {
    return this.recorder.tenant(tenant);
  }

  @Handles(densityHistory)
  history(query: RequestTo<typeof densityHistory>) {
    return this.recorder.history(query);
  }
}
