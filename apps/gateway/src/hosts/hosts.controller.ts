import { Controller, Inject } from '@nestjs/common';
import { BusClient } from '#bus';
import { FleetPast } from '#fleet';
import {
  OperationError,
  assignHostClass,
  cancelDrain,
  cordonHost,
  drainHost,
  planDrain,
  retireHost,
  uncordonHost,
  type DrainPlan,
  type Host,
} from '#protocol';
import { FLEET, type Fleet } from '../fleet/fleet';
import { JournalPages } from '../events/history-pages';
import { Input, Serves, type InputOf } from '../http/route';
import * as routes from './hosts.routes';

type CommandInput = InputOf<typeof routes.cordonRoute>;
/** What a command to a host is made from; all of them are answered with the host. */
type HostCommand = typeof cordonHost;

/** How long an answer waits for this process to have seen what it answers. */
const READ_YOUR_WRITES_MS = 250;

/** Hosts over REST. */
@Controller()
export class HostsController {
  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(FLEET) private readonly fleet: Fleet,
    @Inject(FleetPast) private readonly past: FleetPast,
    @Inject(JournalPages) private readonly pages: JournalPages,
  ) {}

  @Serves(routes.listHostsRoute)
  list(@Input(routes.listHostsRoute) _input: unknown): { items: Host[] } {
    return { items: this.fleet.hosts() };
  }

  @Serves(routes.getHostRoute)
  get(@Input(routes.getHostRoute) { params, query }: InputOf<typeof routes.getHostRoute>): Host | Promise<Host> {
    if (query.at !== undefined) return this.past.hostAt(params.id, query.at);
    const host = this.fleet.host(params.id);
    if (!host) throw unknownHost(params.id);
    return host;
  }

  @Serves(routes.hostHistoryRoute)
  async history(@Input(routes.hostHistoryRoute) { params, query }: InputOf<typeof routes.hostHistoryRoute>) {
    const { limit = 100, before = Infinity } = query;
    const latest = await this.pages.latestOfHost(params.id, { before, limit });
    if (!latest) throw unknownHost(params.id);
    const entries = latest.entries.map(({ sequence, record: { at, commandId, cause, from, to, events } }) => ({
      ...{ sequence, at: new Date(at).toISOString(), commandId, cause, from, to, events },
    }));
    return { id: params.id, entries, more: latest.more };
  }

  @Serves(routes.assignClassRoute)
  assignClass(@Input(routes.assignClassRoute) input: InputOf<typeof routes.assignClassRoute>): Promise<Host> {
    return this.#command(assignHostClass as unknown as HostCommand, input, { hostClass: input.body.class });
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

  @Serves(routes.drainPlanRoute)
  async plan(
    @Input(routes.drainPlanRoute) { params, query }: InputOf<typeof routes.drainPlanRoute>,
  ): Promise<DrainPlan> {
    const { grace: graceMs, parallel, kept } = query;
    const { plan } = await this.bus.call(planDrain, {
      hostId: params.id,
      ...(parallel === undefined ? {} : { parallel }),
      ...(graceMs === undefined ? {} : { graceMs }),
      ...(kept === undefined ? {} : { kept }),
    });
    return plan;
  }

  @Serves(routes.drainRoute)
  drain(@Input(routes.drainRoute) input: InputOf<typeof routes.drainRoute>): Promise<Host> {
    return this.#command(drainHost as unknown as HostCommand, input, input.body);
  }

  @Serves(routes.cancelDrainRoute)
  cancelDrain(@Input(routes.cancelDrainRoute) input: InputOf<typeof routes.cancelDrainRoute>): Promise<Host> {
    return this.#command(cancelDrain, input);
  }

  async #command(
    operation: HostCommand,
    { who, params, headers }: Pick<CommandInput, 'who' | 'params' | 'headers'>,
    more: object = {},
  ): Promise<Host> {
    const commandId = headers['idempotency-key'];
    const { host } = await this.bus.call(operation, {
      hostId: params.id,
      by: who.name,
      ...more,
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

function unknownHost(id: string): OperationError {
  return new OperationError('notFound', `No host ${id} ever registered; GET /v1/hosts lists them.`);
}
