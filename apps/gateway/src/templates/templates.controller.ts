import { randomBytes, randomUUID } from 'node:crypto';
import { Controller, Inject, Res } from '@nestjs/common';
import { BusClient } from '#bus';
import {
  createTemplate,
  deleteTemplate,
  getTemplate,
  listTemplates,
  OperationError,
  setPool,
  sortableId,
  type Template,
} from '#protocol';
import { AliasKey, sees, type Principal } from '#tenancy';
import type { FastifyReply } from 'fastify';
import { Input, Serves, type InputOf } from '../http/route';
import { requireOwn, VisibleFleet } from '../tenancy/visible-fleet';
import { templateForTenant } from './template-view';
import * as routes from './templates.routes';

const REPEAT = { repeatAfterMs: 1_000 };

/** Templates over REST. */
@Controller()
export class TemplatesController {
  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(VisibleFleet) private readonly visible: VisibleFleet,
    @Inject(AliasKey) private readonly aliases: AliasKey,
  ) {}

  @Serves(routes.createTemplateRoute)
  async create(
    @Input(routes.createTemplateRoute) { who, body, headers }: InputOf<typeof routes.createTemplateRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Template> {
    await this.visible.check(who, body.microvmId);
    const { template, created } = await this.bus.call(createTemplate, { ...body, ...askedBy(who, headers) }, REPEAT);
    reply.status(created ? 202 : 200).header('location', `/v1/templates/${template.id}`);
    return this.#shown(who, template);
  }

  @Serves(routes.listTemplatesRoute)
  async list(@Input(routes.listTemplatesRoute) { who, query }: InputOf<typeof routes.listTemplatesRoute>) {
    requireOwn(who, query.tenant);
    const tenant = who.tenant ?? query.tenant;
    const { items } = await this.bus.call(listTemplates, tenant === undefined ? {} : { tenant });
    return { items: items.map((template) => this.#shown(who, template)) };
  }

  @Serves(routes.getTemplateRoute)
  async get(@Input(routes.getTemplateRoute) { who, params }: InputOf<typeof routes.getTemplateRoute>) {
    return this.#shown(who, await this.#find(who, params.id));
  }

  @Serves(routes.setPoolRoute)
  async pool(@Input(routes.setPoolRoute) { who, params, body, headers }: InputOf<typeof routes.setPoolRoute>) {
    const { id } = await this.#find(who, params.id);
    const { template } = await this.bus.call(setPool, { id, pool: body, ...askedBy(who, headers) }, REPEAT);
    return this.#shown(who, template);
  }

  @Serves(routes.deleteTemplateRoute)
  async delete(
    @Input(routes.deleteTemplateRoute) { who, params, headers }: InputOf<typeof routes.deleteTemplateRoute>,
  ) {
    const { id } = await this.#find(who, params.id);
    const { template } = await this.bus.call(deleteTemplate, { id, ...askedBy(who, headers) }, REPEAT);
    return this.#shown(who, template);
  }

  /**
   * @throws OperationError `notFound` when it does not exist or belongs to another tenant; neither the answer nor the way to it tells
   * which: for those who do not see everything, what they may see is listed.
   */
  async #find(who: Principal, id: string): Promise<Template> {
    const known =
      who.tenant === null
        ? undefined
        : (await this.bus.call(listTemplates, { tenant: who.tenant })).items.find((one) => one.id === id);
    try {
      const asked = who.tenant === null || known ? id : sortableId(Date.now(), randomBytes(10));
      const { template } = await this.bus.call(getTemplate, { id: asked });
      if (sees(who, template.tenant)) return template;
    } catch (error) {
      if (!(error instanceof OperationError) || error.code !== 'notFound') throw error;
    }
    throw new OperationError('notFound', `there is no template ${id}`);
  }

  #shown(who: Principal, template: Template): Template {
    const { tenant } = who;
    return tenant === null ? template : templateForTenant(template, (hostId) => this.aliases.aliasOf(tenant, hostId));
  }
}

function askedBy(
  who: Principal,
  headers: { 'idempotency-key'?: string | undefined },
): { commandId: string; by: string } {
  return { commandId: headers['idempotency-key'] ?? randomUUID(), by: who.name };
}
