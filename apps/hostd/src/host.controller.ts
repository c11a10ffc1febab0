import { Controller, Inject } from '@nestjs/common';
import { Handles } from '#bus';
import { hostClassChanged, hostCommand, hostLog, hostTune, measureMicrovm, type ReplyOf } from '#protocol';
import type { z } from 'zod';
import { microvmDensity } from './density/microvm-density';
import { HostAgent } from './host-agent';
import { HostClassLink } from './host-class/host-class-link';

/** What the bus may ask of this host. */
@Controller()
export class HostController {
  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(HostClassLink) private readonly classes: HostClassLink,
  ) {}

  @Handles(hostCommand)
  command(request: z.output<(typeof hostCommand)['request']>): Promise<ReplyOf<typeof hostCommand>> {
    return this.agent.starts.command(request);
  }

  @Handles(measureMicrovm)
  measure({ microvmId }: z.output<(typeof measureMicrovm)['request']>): ReplyOf<typeof measureMicrovm> {
    return microvmDensity(this.agent, microvmId);
  }

  @Handles(hostTune)
  async tune({ microvmId, tuning }: z.output<(typeof hostTune)['request']>): Promise<ReplyOf<typeof hostTune>> {
    await this.agent.tuner.tune(microvmId, tuning);
    return { applied: true };
  }

  @Handles(hostClassChanged)
  classChanged(): ReplyOf<typeof hostClassChanged> {
    this.classes.compareNow();
    return {};
  }

  @Handles(hostLog)
  log({ microvmId, maxBytes, since }: z.output<(typeof hostLog)['request']>): Promise<ReplyOf<typeof hostLog>> {
    return this.agent.consoleLog.read(microvmId, maxBytes, since);
  }
}
