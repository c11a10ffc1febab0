import { Controller, Inject } from '@nestjs/common';
import { BusClient } from '#bus';
import { fleetDensity, type FleetDensity } from '#protocol';
import { Input, Serves } from '../http/route';
import { densityRoute } from './density.routes';

@Controller()
export class DensityController {
  constructor(@Inject(BusClient) private readonly bus: BusClient) {}

  @Serves(densityRoute)
  density(@Input(densityRoute) _input: unknown): Promise<FleetDensity> {
    return this.bus.call(fleetDensity, {});
  }
}
