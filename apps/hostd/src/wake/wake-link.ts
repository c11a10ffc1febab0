import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { BusClient } from '#bus';
import { wakeMicrovm } from '#protocol';
import { HostAgent } from '../host-agent';

/** Joins the doors of what is suspended here to the controllers, who decide whether it goes on. */
@Injectable()
export class WakeLink implements OnApplicationBootstrap {
  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(BusClient) private readonly bus: BusClient,
  ) {}

  onApplicationBootstrap(): void {
    const { hostId, wakeDoors } = this.agent;
    wakeDoors.connect(async ({ microvmId, epoch }, { protocol, port }) => {
      await this.bus.call(wakeMicrovm, { microvmId, epoch, port, protocol }, { values: { hostId } });
    });
  }
}
