import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles } from '#bus';
import { viewHost } from '#lifecycle';
import { cordonHost, listHosts, OperationError, retireHost, uncordonHost, type HostEvent } from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { askedBy } from './asked-by';

type HostRequest = z.output<(typeof cordonHost)['request']>;

/** What operators ask about hosts, as messages. */
@Controller()
export class HostController {
  constructor(private readonly hosts: HostHistories) {}

  @Handles(listHosts)
  list() {
    return { items: this.hosts.all().map(viewHost) };
  }

  @Handles(cordonHost)
  cordon(request: HostRequest) {
    return this.#command(request, { type: 'cordonRequested' });
  }

  @Handles(uncordonHost)
  uncordon(request: HostRequest) {
    return this.#command(request, { type: 'uncordonRequested' });
  }

  @Handles(retireHost)
  retire(request: HostRequest) {
    return this.#command(request, { type: 'retireRequested' });
  }

  async #command({ hostId, commandId, by }: HostRequest, event: HostEvent) {
    if (!this.hosts.get(hostId)) throw new OperationError('notFound', `there is no host ${hostId}`);
    const { decision, life } = await this.hosts.record(hostId, askedBy({ commandId, by }), [event]);
    if (decision.kind === 'refused') {
      const asked = event.type.replace('Requested', '');
      throw new OperationError('conflict', `host ${hostId} is ${decision.state}: it cannot be ${asked}ed now`);
    }
    return { host: viewHost(life!) };
  }
}
