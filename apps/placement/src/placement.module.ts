import { Module, type DynamicModule } from '@nestjs/common';
import { DecidePlacement } from './decisions/decide-placement';
import { DryRun } from './decisions/dry-run';
import { DensityRecorder } from './density/density-recorder';
import { HostWatch } from './hosts/host-watch';
import { PlacementController } from './placement.controller';
import { Receipts } from './receipts/receipts';
import { USAGE_INTERVAL_MS, UsageRecorder } from './usage/usage-recorder';
import { WhatIf } from './what-if/what-if';

export interface PlacementOptions {
  /** Length of the intervals of which usage is recorded, ms. */
  usageIntervalMs: number;
}

/** Chooses hosts, stores and reads receipts, sums and keeps density reports, records usage, answers what-ifs. */
@Module({
  controllers: [PlacementController],
  providers: [HostWatch, DecidePlacement, DensityRecorder, DryRun, Receipts, UsageRecorder, WhatIf],
})
export class PlacementModule {
  static of({ usageIntervalMs }: PlacementOptions): DynamicModule {
    return {
      module: PlacementModule,
      providers: [{ provide: USAGE_INTERVAL_MS, useValue: usageIntervalMs }],
    };
  }
}
