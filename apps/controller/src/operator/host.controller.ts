import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles } from '#bus';
import { viewHost } from '#lifecycle';
import {
  assignHostClass,
  cancelDrain,
  cordonHost,
  drainHost,
  listHosts,
  OperationError,
  planDrain,
  retireHost,
  uncordonHost,
  type HostEvent,
} from '#protocol';
import { PreviewDrain } from '../drain/preview-drain';
import { HostClassKeeper } from '../host-classes/host-class-keeper';
import { HostHistories } from '../histories/host-histories';
import { askedBy } from './asked-by';

/** Said of a host whose state does not accept what was asked. */
const WHY_NOT: Partial<Record<HostEvent['type'], string>> = {
  cordonRequested: 'it cannot be cordoned now',
  uncordonRequested:
    'it cannot be uncordoned now; what drains, or is drained, takes microVMs again when its drain is cancelled',
  retireRequested: 'it cannot be retired now; only a host that does not answer can',
  drainRequested: 'it cannot be drained now',
  drainCancelled: 'it has no drain that could be cancelled',
  classAssigned: 'a controller of an older version takes part; finish the upgrade first',
};

type HostRequest = z.output<(typeof cordonHost)['request']>;

/** What operators ask about hosts, as messages. */
@Controller()
export class HostController {
  constructor(
    private readonly hosts: HostHistories,
    private readonly previewDrain: PreviewDrain,
    private readonly classes: HostClassKeeper,
  ) {}

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

  @Handles(planDrain)
  async plan({ hostId, ...order }: z.output<(typeof planDrain)['request']>) {
    return { plan: await this.previewDrain.execute(hostId, order) };
  }

  @Handles(drainHost)
  drain({ parallel, graceMs, kept, ...request }: z.output<(typeof drainHost)['request']>) {
    return this.#command(request, { type: 'drainRequested', parallel, graceMs, kept });
  }

  @Handles(cancelDrain)
  cancel(request: HostRequest) {
    return this.#command(request, { type: 'drainCancelled' });
  }

  @Handles(assignHostClass)
  async assign({ hostClass, ...request }: z.output<(typeof assignHostClass)['request']>) {
    if (hostClass !== null && !(await this.classes.has(hostClass)))
      throw new OperationError('notFound', `there is no host class ${hostClass}; put it on record first`);
    return this.#command(request, { type: 'classAssigned', hostClass });
  }

  async #command({ hostId, commandId, by }: HostRequest, event: HostEvent) {
    if (!this.hosts.get(hostId)) throw new OperationError('notFound', `there is no host ${hostId}`);
    const { decision, life } = await this.hosts.record(hostId, askedBy({ commandId, by }), [event]);
    if (decision.kind === 'refused') {
      throw new OperationError(
        'conflict',
        `host ${hostId} is ${decision.state}: ${WHY_NOT[event.type] ?? 'not possible now'}`,
      );
    }
    return { host: viewHost(life!) };
  }
}
