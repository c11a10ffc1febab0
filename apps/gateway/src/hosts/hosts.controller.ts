import { Controller, Inject } from '@nestjs/common';
import { BusClient } from '#bus';
import { OperationError, cordonHost, retireHost, uncordonHost, type Host } from '#protocol';
import { FLEET, type Fleet } from '../fleet/fleet';
import { OPERATOR } from '../http/authentication';
import { Input, Serves, type InputOf } from '../http/route';
import * as routes from './hosts.routes';

type CommandInput = InputOf<typeof routes.cordonRoute>;

/** How long an answer waits for this process to have seen what it answers. */
const READ_YOUR_WRITES_MS = 250;

/** Hosts over REST. */
@Controller()
export class HostsController {
  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(FLEET) private readonly fleet: Fleet,
  ) {}

  @Serves(routes.listHostsRoute)
  list(@Input(routes.listHostsRoute) _input: unknown): { items: Host[] } {
    return { items: this.fleet.hosts() };
  }

  @Serves(routes.getHostRoute)
  get(@Input(routes.getHostRoute) { params }: InputOf<typeof routes.getHostRoute>): Host {
    const host = this.fleet.host(params.id);
    if (!host) throw new OperationError('notFound', `No host ${params.id} ever registered; GET /v1/hosts lists them.`);
    return host;
  }

  @Serves(routes.cordonRoute)
  cordon(@Input(routes.cordonRoute) input: CommandInput): Promise<Host> {
    return this.#command(cordonHost, input);
  }

  @Serves(routes.uncordonRoute)
  uncordon(@Input(routes.uncordonRoute) input: CommandInput): Promise<Host> {
    return this.#command(uncordonHost, input);
  }

  @Serves(routes.retireRoute)
  retire(@Input(routes.retireRoute) input: CommandInput): Promise<Host> {
    return this.#command(retireHost, input);
  }

  async #command(operation: typeof cordonHost, { params, headers }: CommandInput): Promise<Host> {
    const commandId = headers['idempotency-key'];
    const { host } = await this.bus.call(operation, {
      hostId: params.id,
      by: OPERATOR,
      ...(commandId === undefined ? {} : { commandId }),
    });
    await this.#seen(host);
    return host;
  }

  /** Lets this process see the host's record before its writer is told of it. */
  #seen({ id, revision }: Host): Promise<void> {
    const there = (): boolean => (this.fleet.host(id)?.revision ?? 0) >= revision;
    if (there()) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        off();
        resolve();
      };
      const timer = setTimeout(done, READ_YOUR_WRITES_MS);
      const off = this.fleet.onChange((change) => {
        if (change.kind === 'host' && change.host.id === id && change.sequence >= revision) done();
      });
    });
  }
}
