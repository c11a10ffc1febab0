import { randomBytes, randomUUID } from 'node:crypto';
import { Controller, Inject, Req, Res } from '@nestjs/common';
import { BusClient } from '#bus';
import { FleetPast } from '#fleet';
import { wallClockMs } from '#journal';
import {
  createMicrovm,
  deleteMicrovm,
  hostLog,
  killMicrovm,
  microvmHistoryOf,
  pauseMicrovm,
  placementOf,
  protectMicrovm,
  resumeMicrovm,
  sortableId,
  startMicrovm,
  stopMicrovm,
  suspendMicrovm,
  tuneMicrovm,
  type Microvm,
  type MicrovmStateName,
} from '#protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { FLEET, seen, type Fleet } from '../fleet/fleet';
import { clientGone } from '../http/client-gone';
import { prefersJson } from '../http/prefers-json';
import { Input, Serves, type InputOf } from '../http/route';
import { ownSpec } from '../tenancy/own-spec';
import { VisibleFleet } from '../tenancy/visible-fleet';
import { filterOf } from './list-filter';
import { MicrovmWaiter, newer } from './microvm-waiter';
import * as routes from './microvms.routes';
import { DEFAULT_WAIT_MS } from './microvms.schemas';

/** Commands name themselves, so one that a dying controller took along is sent again instead of waited for. */
const REPEAT_AFTER_MS = 1_000;

type CommandInput = Omit<InputOf<typeof routes.pauseRoute>, 'body' | 'query'> & { query: Waiting };
type Command = typeof pauseMicrovm;

interface Waiting {
  wait?: MicrovmStateName | undefined;
  timeout?: number | undefined;
}

/** MicroVMs over REST: reads from this process's own fold of the histories, commands through the bus. */
@Controller()
export class MicrovmsController {
  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(FLEET) private readonly fleet: Fleet,
    @Inject(VisibleFleet) private readonly visible: VisibleFleet,
    @Inject(FleetPast) private readonly past: FleetPast,
    @Inject(MicrovmWaiter) private readonly waiter: MicrovmWaiter,
  ) {}

  @Serves(routes.createRoute)
  async create(
    @Input(routes.createRoute) { who, body, query, headers }: InputOf<typeof routes.createRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Microvm> {
    const requestedAt = wallClockMs() - reply.elapsedTime;
    const key = headers['idempotency-key'];
    const { microvm } = await this.bus.call(
      createMicrovm,
      {
        spec: ownSpec(who, body, reply.request.body as { tenant?: string } | undefined),
        id: sortableId(Math.floor(requestedAt), randomBytes(10)),
        by: who.name,
        requestedAt,
        ...(key === undefined ? {} : { idempotencyKey: key }),
      },
      { repeatAfterMs: REPEAT_AFTER_MS },
    );
    reply.header('location', `/v1/microvms/${microvm.id}`);
    return this.#answer(reply, microvm, { who, query }, 201);
  }

  @Serves(routes.listRoute)
  list(@Input(routes.listRoute) { who, query }: InputOf<typeof routes.listRoute>) {
    return this.visible.list(who, filterOf(query));
  }

  @Serves(routes.getRoute)
  async get(@Input(routes.getRoute) { who, params, query }: InputOf<typeof routes.getRoute>): Promise<Microvm> {
    if (query.at === undefined) return this.visible.shown(who, await this.visible.find(who, params.id));
    await this.visible.check(who, params.id);
    return this.visible.shown(who, await this.past.microvmAt(params.id, query.at));
  }

  @Serves(routes.pauseRoute)
  pause(@Input(routes.pauseRoute) input: CommandInput, @Res({ passthrough: true }) reply: FastifyReply) {
    return this.#command(pauseMicrovm, input, reply);
  }

  @Serves(routes.resumeRoute)
  resume(@Input(routes.resumeRoute) input: CommandInput, @Res({ passthrough: true }) reply: FastifyReply) {
    return this.#command(resumeMicrovm, input, reply);
  }

  @Serves(routes.suspendRoute)
  suspend(@Input(routes.suspendRoute) input: CommandInput, @Res({ passthrough: true }) reply: FastifyReply) {
    return this.#command(suspendMicrovm, input, reply);
  }

  @Serves(routes.startRoute)
  start(@Input(routes.startRoute) input: CommandInput, @Res({ passthrough: true }) reply: FastifyReply) {
    return this.#command(startMicrovm, input, reply);
  }

  @Serves(routes.killRoute)
  kill(@Input(routes.killRoute) input: CommandInput, @Res({ passthrough: true }) reply: FastifyReply) {
    return this.#command(killMicrovm, input, reply);
  }

  @Serves(routes.stopRoute)
  stop(
    @Input(routes.stopRoute) input: InputOf<typeof routes.stopRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { timeoutMs } = input.body;
    // Its request has one field more than the other commands'; the reply is the same.
    return this.#command(stopMicrovm as unknown as Command, input, reply, timeoutMs === undefined ? {} : { timeoutMs });
  }

  @Serves(routes.protectionRoute)
  async protect(
    @Input(routes.protectionRoute) { who, params, headers, body }: InputOf<typeof routes.protectionRoute>,
  ): Promise<Microvm> {
    const commandId = headers['idempotency-key'] ?? randomUUID();
    const request = { id: params.id, by: who.name, commandId, enabled: body.enabled };
    await this.visible.check(who, params.id);
    const { microvm } = await this.bus.call(protectMicrovm, request, { repeatAfterMs: REPEAT_AFTER_MS });
    await seen(this.fleet, microvm.revision);
    return this.visible.shown(who, newer(microvm, this.fleet.microvm(microvm.id)));
  }

  @Serves(routes.tuneRoute)
  async tune(
    @Input(routes.tuneRoute) { who, params, headers, body }: InputOf<typeof routes.tuneRoute>,
  ): Promise<Microvm> {
    const commandId = headers['idempotency-key'] ?? randomUUID();
    const request = { id: params.id, by: who.name, commandId, tuning: body };
    await this.visible.check(who, params.id);
    const { microvm } = await this.bus.call(tuneMicrovm, request); // not repeated: a key would be pressed twice
    await seen(this.fleet, microvm.revision);
    return this.visible.shown(who, newer(microvm, this.fleet.microvm(microvm.id)));
  }

  @Serves(routes.deleteRoute)
  delete(@Input(routes.deleteRoute) input: CommandInput, @Res({ passthrough: true }) reply: FastifyReply) {
    return this.#command(deleteMicrovm, input, reply);
  }

  @Serves(routes.historyRoute)
  async history(@Input(routes.historyRoute) { who, params, query }: InputOf<typeof routes.historyRoute>) {
    const { at } = query;
    await this.visible.check(who, params.id);
    const told = await this.bus.call(microvmHistoryOf, { id: params.id, ...(at === undefined ? {} : { at }) });
    const view = this.visible.viewOf(who);
    if (!view) return told;
    const { id, entries, microvm } = told;
    return { id, entries: entries.map((entry) => view.entry(entry)), microvm: microvm && view.microvm(microvm) };
  }

  @Serves(routes.placementRoute)
  async placement(@Input(routes.placementRoute) { who, params }: InputOf<typeof routes.placementRoute>) {
    await this.visible.find(who, params.id);
    const told = await this.bus.call(placementOf, { microvmId: params.id });
    const view = this.visible.viewOf(who);
    return view ? { receipts: told.receipts.map((receipt) => view.receipt(receipt)) } : told;
  }

  @Serves(routes.logRoute)
  async log(
    @Input(routes.logRoute) { who, params, query }: InputOf<typeof routes.logRoute>,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { hostId } = await this.visible.find(who, params.id);
    const { since, maxBytes } = query;
    const log =
      hostId === null
        ? { text: '', from: 0, to: 0 }
        : await this.bus.call(
            hostLog,
            {
              microvmId: params.id,
              ...(since === undefined ? {} : { since }),
              ...(maxBytes === undefined ? {} : { maxBytes }),
            },
            { values: { hostId } },
          );
    reply.header('vary', 'accept').header('volley-log-from', log.from).header('volley-log-to', log.to);
    if (prefersJson(request.headers.accept)) return log;
    reply.type('text/plain; charset=utf-8').header('x-content-type-options', 'nosniff');
    return log.text;
  }

  async #command(operation: Command, input: CommandInput, reply: FastifyReply, extra: object = {}): Promise<Microvm> {
    const commandId = input.headers['idempotency-key'] ?? randomUUID();
    await this.visible.check(input.who, input.params.id);
    const { microvm } = await this.bus.call(
      operation,
      { id: input.params.id, by: input.who.name, commandId, ...extra },
      { repeatAfterMs: REPEAT_AFTER_MS },
    );
    return this.#answer(reply, microvm, input, 200);
  }

  async #answer(
    reply: FastifyReply,
    accepted: Microvm,
    { who, query }: Pick<CommandInput, 'who' | 'query'>,
    reachedStatus: number,
  ): Promise<Microvm> {
    reply.status(202);
    const shown = (microvm: Microvm): Microvm => this.visible.shown(who, microvm);
    if (query.wait === undefined) {
      await seen(this.fleet, accepted.revision);
      return shown(newer(accepted, this.fleet.microvm(accepted.id)));
    }
    const timeoutMs = query.timeout ?? DEFAULT_WAIT_MS;
    const { microvm, reached } = await this.waiter.wait(query.wait, accepted, timeoutMs, clientGone(reply.raw), shown);
    if (reached) reply.status(reachedStatus);
    return microvm;
  }
}
