import { randomBytes, randomUUID } from 'node:crypto';
import { Controller, Inject, Res } from '@nestjs/common';
import { BusClient } from '#bus';
import { FleetPast } from '#fleet';
import {
  createGroup,
  deleteGroup,
  getGroup,
  groupHistoryOf,
  groupIdOf,
  listGroups,
  OperationError,
  replaceGroupSpec,
  scaleGroup,
  type Group,
} from '#protocol';
import { sees, type Principal } from '#tenancy';
import type { FastifyReply } from 'fastify';
import { Input, Serves, type InputOf } from '../http/route';
import { ownSpec } from '../tenancy/own-spec';
import { requireOwn } from '../tenancy/visible-fleet';
import { groupEntryForTenant, groupForTenant } from './group-view';
import * as routes from './groups.routes';

const REPEAT = { repeatAfterMs: 1_000 };

type CommandInput = Pick<InputOf<typeof routes.deleteGroupRoute>, 'who' | 'params' | 'headers'>;
/** What a command to a group is made from; all of them are answered with the group. */
type Command = typeof deleteGroup;

type SentSpec = { spec?: { tenant?: string } } | undefined;

/** Groups over REST. */
@Controller()
export class GroupsController {
  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(FleetPast) private readonly past: FleetPast,
  ) {}

  @Serves(routes.createGroupRoute)
  async create(
    @Input(routes.createGroupRoute) { who, body, headers }: InputOf<typeof routes.createGroupRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Group> {
    const spec = ownSpec(who, body.spec, (reply.request.body as SentSpec)?.spec);
    const { group, created } = await this.bus.call(
      createGroup,
      { ...body, spec, ...askedBy({ who, headers }) },
      REPEAT,
    );
    reply.status(created ? 201 : 200).header('location', `/v1/groups/${group.id}`);
    return shown(who, group);
  }

  @Serves(routes.listGroupsRoute)
  list(@Input(routes.listGroupsRoute) { who, query }: InputOf<typeof routes.listGroupsRoute>) {
    requireOwn(who, query.tenant);
    const tenant = who.tenant ?? query.tenant;
    return this.bus.call(listGroups, tenant === undefined ? {} : { tenant });
  }

  @Serves(routes.getGroupRoute)
  async get(@Input(routes.getGroupRoute) { who, params, query }: InputOf<typeof routes.getGroupRoute>): Promise<Group> {
    const { at } = query;
    const group = await this.#own(who, params.id, async (id) =>
      at === undefined ? (await this.bus.call(getGroup, { id })).group : this.past.groupAt(id, at),
    );
    return shown(who, group);
  }

  @Serves(routes.scaleGroupRoute)
  scale(@Input(routes.scaleGroupRoute) input: InputOf<typeof routes.scaleGroupRoute>): Promise<Group> {
    return this.#command(scaleGroup as unknown as Command, input, input.body);
  }

  @Serves(routes.replaceGroupRoute)
  replace(
    @Input(routes.replaceGroupRoute) input: InputOf<typeof routes.replaceGroupRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Group> {
    const { who, params, body } = input;
    const sent = (reply.request.body as SentSpec)?.spec;
    // A group does not change hands: who says nothing means its owner.
    const tenant = sent?.tenant ?? tenantOf(params.id);
    const spec = ownSpec(who, { ...body.spec, tenant }, sent);
    return this.#command(replaceGroupSpec as unknown as Command, input, { ...body, spec });
  }

  @Serves(routes.deleteGroupRoute)
  delete(@Input(routes.deleteGroupRoute) input: InputOf<typeof routes.deleteGroupRoute>): Promise<Group> {
    return this.#command(deleteGroup, input);
  }

  @Serves(routes.groupHistoryRoute)
  async history(@Input(routes.groupHistoryRoute) { who, params }: InputOf<typeof routes.groupHistoryRoute>) {
    const history = await this.#own(who, params.id, (id) => this.bus.call(groupHistoryOf, { id }));
    return who.tenant === null ? history : { ...history, entries: history.entries.map(groupEntryForTenant) };
  }

  async #command(operation: Command, input: CommandInput, more: object = {}): Promise<Group> {
    const { who, params } = input;
    const { group } = await this.#own(who, params.id, (id) =>
      this.bus.call(operation, { id, ...askedBy(input), ...more }, REPEAT),
    );
    return shown(who, group);
  }

  /** What is another's takes the way of what is not there, so that neither the answer nor the way to it tells which. */
  async #own<T>(who: Principal, id: string, ask: (id: string) => Promise<T>): Promise<T> {
    const isOwn = sees(who, tenantOf(id));
    try {
      return await ask(isOwn ? id : groupIdOf(who.tenant!, randomBytes(16).toString('hex')));
    } catch (error) {
      if (isOwn || !(error instanceof OperationError) || error.code !== 'notFound') throw error;
      throw new OperationError('notFound', `there is no group ${id}`);
    }
  }
}

function askedBy({ who, headers }: Pick<CommandInput, 'who' | 'headers'>): { commandId: string; by: string } {
  return { commandId: headers['idempotency-key'] ?? randomUUID(), by: who.name };
}

function shown(who: Principal, group: Group): Group {
  return who.tenant === null ? group : groupForTenant(group);
}

function tenantOf(groupId: string): string {
  return groupId.slice(0, groupId.indexOf('_'));
}
