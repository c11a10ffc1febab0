import { randomBytes, randomUUID } from 'node:crypto';
import { Controller, Inject, Req, Res } from '@nestjs/common';
import { BusClient } from '#bus';
import { wallClockMs } from '#journal';
import {
  createMicrovm,
  deleteMicrovm,
  getMicrovm,
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
  tuneMicrovm,
  type Microvm,
  type MicrovmStateName,
} from '#protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { FLEET, seen, type Fleet } from '../fleet/fleet';
import { OPERATOR } from '../http/authentication';
import { invalid } from '../http/invalid';
import { prefersJson } from '../http/prefers-json';
import { Input, Serves, type InputOf } from '../http/route';
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
    @Inject(MicrovmWaiter) private readonly waiter: MicrovmWaiter,
  ) {}

  @Serves(routes.createRoute)
  async create(
    @Input(routes.createRoute) { body, query, headers }: InputOf<typeof routes.createRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Microvm> {
    const requestedAt = wallClockMs() - reply.elapsedTime;
    const key = headers['idempotency-key'];
    const { microvm } = await this.bus.call(
      createMicrovm,
      {
        spec: body,
        id: sortableId(Math.floor(requestedAt), randomBytes(10)),
        by: OPERATOR,
        requestedAt,
        ...(key === undefined ? {} : { idempotencyKey: key }),
      },
      { repeatAfterMs: REPEAT_AFTER_MS },
    );
    reply.header('location', `/v1/microvms/${microvm.id}`);
    return this.#answer(reply, microvm, query, 201);
  }

  @Serves(routes.listRoute)
  list(@Input(routes.listRoute) { query }: InputOf<typeof routes.listRoute>) {
    const { state, host: hostId, tenant, image, name, label, limit, cursor } = query;
    return this.fleet.list({ state, hostId, tenant, image, name, labels: labelsOf(label), limit, cursor });
  }

  @Serves(routes.getRoute)
  get(@Input(routes.getRoute) { params }: InputOf<typeof routes.getRoute>): Microvm | Promise<Microvm> {
    return this.fleet.microvm(params.id) ?? this.#fromHistory(params.id);
  }

  @Serves(routes.pauseRoute)
  pause(@Input(routes.pauseRoute) input: CommandInput, @Res({ passthrough: true }) reply: FastifyReply) {
    return this.#command(pauseMicrovm, input, reply);
  }

  @Serves(routes.resumeRoute)
  resume(@Input(routes.resumeRoute) input: CommandInput, @Res({ passthrough: true }) reply: FastifyReply) {
    return this.#command(resumeMicrovm, input, reply);
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
    @Input(routes.protectionRoute) { params, headers, body }: InputOf<typeof routes.protectionRoute>,
  ): Promise<Microvm> {
    const commandId = headers['idempotency-key'] ?? randomUUID();
    const request = { id: params.id, by: OPERATOR, commandId, enabled: body.enabled };
    const { microvm } = await this.bus.call(protectMicrovm, request, { repeatAfterMs: REPEAT_AFTER_MS });
    await seen(this.fleet, microvm.revision);
    return newer(microvm, this.fleet.microvm(microvm.id));
  }

  @Serves(routes.tuneRoute)
  async tune(@Input(routes.tuneRoute) { params, headers, body }: InputOf<typeof routes.tuneRoute>): Promise<Microvm> {
    const commandId = headers['idempotency-key'] ?? randomUUID();
    const request = { id: params.id, by: OPERATOR, commandId, tuning: body };
    const { microvm } = await this.bus.call(tuneMicrovm, request); // not repeated: a key would be pressed twice
    await seen(this.fleet, microvm.revision);
    return newer(microvm, this.fleet.microvm(microvm.id));
  }

  @Serves(routes.deleteRoute)
  delete(@Input(routes.deleteRoute) input: CommandInput, @Res({ passthrough: true }) reply: FastifyReply) {
    return this.#command(deleteMicrovm, input, reply);
  }

  @Serves(routes.historyRoute)
  history(@Input(routes.historyRoute) { params, query }: InputOf<typeof routes.historyRoute>) {
    const { at } = query;
    return this.bus.call(microvmHistoryOf, { id: params.id, ...(at === undefined ? {} : { at }) });
  }

  @Serves(routes.placementRoute)
  async placement(@Input(routes.placementRoute) { params }: InputOf<typeof routes.placementRoute>) {
    await this.#require(params.id);
    return this.bus.call(placementOf, { microvmId: params.id });
  }

  @Serves(routes.logRoute)
  async log(
    @Input(routes.logRoute) { params, query }: InputOf<typeof routes.logRoute>,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { hostId } = await this.#require(params.id);
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
    const { microvm } = await this.bus.call(
      operation,
      { id: input.params.id, by: OPERATOR, commandId, ...extra },
      { repeatAfterMs: REPEAT_AFTER_MS },
    );
    return this.#answer(reply, microvm, input.query, 200);
  }

  async #answer(reply: FastifyReply, accepted: Microvm, query: Waiting, reachedStatus: number): Promise<Microvm> {
    reply.status(202);
    if (query.wait === undefined) {
      await seen(this.fleet, accepted.revision);
      return newer(accepted, this.fleet.microvm(accepted.id));
    }
    const timeoutMs = query.timeout ?? DEFAULT_WAIT_MS;
    const { microvm, reached } = await this.waiter.wait(query.wait, accepted, timeoutMs, reply.raw);
    if (reached) reply.status(reachedStatus);
    return microvm;
  }

  #require(id: string): Microvm | Promise<Microvm> {
    return this.fleet.microvm(id) ?? this.#fromHistory(id);
  }

  /** Long deleted, only just created, or never there: the controller knows. */
  async #fromHistory(id: string): Promise<Microvm> {
    return (await this.bus.call(getMicrovm, { id })).microvm;
  }
}

function labelsOf(pairs: string[] | undefined): Record<string, string> | undefined {
  if (pairs === undefined) return undefined;
  const labels = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    const key = pair.slice(0, equals);
    if (labels.has(key)) throw invalid([{ path: 'query.label', message: `${key} is given twice` }]);
    labels.set(key, pair.slice(equals + 1));
  }
  return Object.fromEntries(labels);
}
