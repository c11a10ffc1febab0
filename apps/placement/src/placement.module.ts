import { Module } from '@nestjs/common';
import { DecidePlacement } from './decide-placement';
import { HostTable } from './host-table';
import { PlacementController } from './placement.controller';

/** Chooses hosts, writes receipts, sums density reports. */
@Module({ controllers: [PlacementController], providers: [HostTable, DecidePlacement] })
export class PlacementModule {}
