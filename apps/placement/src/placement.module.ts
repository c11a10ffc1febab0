import { Module } from '@nestjs/common';
import { DecidePlacement } from './decisions/decide-placement';
import { DryRun } from './decisions/dry-run';
import { HostWatch } from './hosts/host-watch';
import { PlacementController } from './placement.controller';
import { Receipts } from './receipts/receipts';
import { WhatIf } from './what-if/what-if';

/** Chooses hosts, stores and reads receipts, sums density reports, answers what-ifs. */
@Module({ controllers: [PlacementController], providers: [HostWatch, DecidePlacement, DryRun, Receipts, WhatIf] })
export class PlacementModule {}
