import { createHash, randomBytes } from 'node:crypto';
import { Controller, Inject } from '@nestjs/common';
import type { Logger } from 'pino';
import type { z } from 'zod';
import { BusClient, Handles, LOGGER, type BusContext } from '#bus';
import { wallClockMs } from '#journal';
import { decideCommand, hostState, microvmContext, microvmState, type MicrovmLife } from '#lifecycle';
import {
  createTemplate,
  deleteTemplate,
  getTemplate,
  listTemplates,
  OperationError,
  setPool,
  sortableId,
  syncTemplates,
  timeOfId,
  wantedDevices,
  type Operation,
  type Quotas,
  type TemplateRecord,
} from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { MicrovmHistories } from '../histories/microvm-histories';
import { askedBy } from '../operator/asked-by';
import { unknownMicrovm } from '../operator/unknown-microvm';
import { tellHosts } from './tell-hosts';
import { TemplateRecords, viewTemplate } from './template-records';
import { Tenants } from '../tenants/tenants';
import {
  heardFrom,
  isUnwanted,
  lostFromStore,
  poolsExcess,
  poolsOn,
  storedBy,
  templatesExcess,
} from './template-rules';

type RequestTo<O extends Operation> = z.output<O['request']>;

/** What operators ask about templates, and what hosts tell of them, as messages. */
@Controller()
export class TemplateController {
  constructor(
    private readonly records: TemplateRecords,
    private readonly histories: MicrovmHistories,
    private readonly hosts: HostHistories,
    private readonly tenants: Tenants,
    private readonly bus: BusClient,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** On record first, so that whatever the host takes is known; then in the history of the source, whose host is told by that. */
  @Handles(createTemplate)
  async create(request: RequestTo<typeof createTemplate>) {
    const { microvmId, name, afterwards, commandId, by } = request;
    const life = await this.histories.find(microvmId);
    if (!life) throw unknownMicrovm(microvmId);
    const id = request.id ?? newId(microvmId, commandId);
    const known = await this.records.find(id);
    if (known) {
      if (known.source.microvmId === microvmId) return { template: viewTemplate(known), created: false };
      throw new OperationError('conflict', `template ${id} exists, of another microVM; choose another id`);
    }
    const born = bornFrom(id, name, life);
    await this.records.update(id, (now) => now ?? born);
    // Counted with those that others make at the same time, so that no number of them passes together.
    try {
      this.#require(born.tenant, (quotas, held) => templatesExcess(quotas, held));
    } catch (error) {
      await this.records.update(id, () => undefined);
      throw error;
    }
    const who = askedBy({ commandId: `template.${id}`, by });
    const { decision } = await this.histories.decide(microvmId, who, (now, occasion) => {
      if (!now) throw unknownMicrovm(microvmId);
      return decideCommand(now, { type: 'snapshot', templateId: id, afterwards }, occasion);
    });
    if (decision.kind === 'refused') {
      await this.records.update(id, () => undefined);
      const why = decision.reason ?? 'a template is made of a running or paused one';
      throw new OperationError('conflict', `microVM ${microvmId} is ${decision.state}: ${why}`);
    }
    return { template: viewTemplate(this.records.get(id) ?? born), created: true };
  }

  @Handles(listTemplates)
  list({ tenant }: RequestTo<typeof listTemplates>) {
    const wanted = this.records
      .list()
      .filter((one) => one.state !== 'deleted' && (tenant === undefined || one.tenant === tenant));
    return { items: wanted.map(viewTemplate) };
  }

  @Handles(getTemplate)
  async get({ id }: RequestTo<typeof getTemplate>) {
    return { template: viewTemplate(await this.#find(id)) };
  }

  @Handles(deleteTemplate)
  async delete({ id }: RequestTo<typeof deleteTemplate>) {
    const found = await this.#find(id);
    const deleted = await this.#change(id, (now) => {
      if (now.state === 'creating') {
        throw new OperationError('conflict', `template ${id} is being made; delete it when that is over`);
      }
      // As long as a host may hold it, it is remembered that it must not.
      return now.hosts.length === 0 ? undefined : { ...now, state: 'deleted', pool: null, updatedAt: wallClockMs() };
    });
    return { template: viewTemplate(deleted ?? { ...found, state: 'deleted' }) };
  }

  @Handles(setPool)
  async pool({ id, pool }: RequestTo<typeof setPool>) {
    const { tenant } = await this.#find(id);
    if (pool) this.#require(tenant, (quotas, held) => poolsExcess(quotas, held, { id, max: pool.max }));
    const changed = await this.#change(id, (now) => {
      if (now.state !== 'ready') throw new OperationError('conflict', `template ${id} is ${now.state}`);
      return { ...now, pool, updatedAt: wallClockMs() };
    });
    return { template: viewTemplate(changed!) };
  }

  /** The subject says which host speaks. */
  @Handles(syncTemplates)
  async sync({ held, published, missing = [] }: RequestTo<typeof syncTemplates>, { values }: BusContext) {
    const hostId = values['hostId']!;
    for (const publication of published) {
      await this.records.update(
        publication.templateId,
        (now) => now && storedBy(now, hostId, publication, wallClockMs()),
      );
    }
    for (const id of missing) {
      tellHosts(this.bus, await this.records.update(id, (now) => now && lostFromStore(now, wallClockMs())));
    }
    const known = this.records.list();
    const holds = new Set(held);
    for (const record of known) {
      const heard = (now: TemplateRecord) => heardFrom(now, { hostId, holds: holds.has(now.id), now: wallClockMs() });
      if (heard(record) !== record) await this.records.update(record.id, (now) => now && heard(now));
    }
    const ids = new Set(known.map(({ id }) => id));
    const unknown = held.filter((id) => !ids.has(id));
    if (unknown.length > 0) this.logger.warn({ hostId, unknown }, 'a host holds templates that are not on record');
    const here = known.filter(({ id }) => holds.has(id));
    const ready = here.filter(({ state }) => state === 'ready');
    const host = this.hosts.get(hostId);
    return {
      drop: here.filter(isUnwanted).map(({ id }) => id),
      pools: poolsOn(host && hostState(host), ready),
      publish: ready.filter((one) => !one.stored && one.hosts.includes(hostId)).map(({ id }) => id),
      stored: ready.filter(({ stored }) => stored).map(({ id }) => id),
    };
  }

  /** @throws OperationError `refused` */
  #require(
    tenant: string,
    excessOf: (quotas: Quotas, held: TemplateRecord[]) => { path: string; message: string }[],
  ): void {
    const held = this.records.list().filter((one) => one.tenant === tenant);
    const excess = excessOf(this.tenants.get(tenant)?.quotas ?? {}, held);
    if (excess.length === 0) return;
    const told = excess.map(({ path, message }) => `${path.replace('quotas.', '')}: ${message}`).join('; ');
    throw new OperationError('refused', `tenant ${tenant} has no room left in its quotas: ${told}`, excess);
  }

  /** Changes a template and lets the hosts that hold it know. */
  async #change(id: string, change: (now: TemplateRecord) => TemplateRecord | undefined) {
    const changed = await this.records.update(id, (now) => now && change(now));
    tellHosts(this.bus, changed);
    return changed;
  }

  async #find(id: string): Promise<TemplateRecord> {
    const record = await this.records.find(id);
    if (!record || record.state === 'deleted') throw new OperationError('notFound', `there is no template ${id}`);
    return record;
  }
}

/** The same for the same request sent again. */
function newId(microvmId: string, commandId: string | undefined): string {
  if (commandId === undefined) return sortableId(Math.floor(wallClockMs()), randomBytes(10));
  const hash = createHash('sha256').update(`${microvmId} ${commandId}`).digest();
  return sortableId(timeOfId(microvmId) ?? 0, hash);
}

function bornFrom(id: string, name: string | undefined, life: MicrovmLife): TemplateRecord {
  const { spec, hostId, epoch } = microvmContext(life);
  if (hostId === null) {
    throw new OperationError(
      'conflict',
      `microVM ${life.id} is ${microvmState(life)}: a template is made of a running or paused one`,
    );
  }
  const { network, vsock, balloon, rng } = wantedDevices(spec);
  const at = wallClockMs();
  return {
    id,
    name: name ?? null,
    tenant: spec.tenant,
    state: 'creating',
    reason: null,
    source: { microvmId: life.id, hostId, epoch },
    ...{ image: spec.image, vcpus: spec.vcpus, memoryMiB: spec.memoryMiB },
    devices: { network: network !== undefined, vsock, balloon, rng, disks: spec.disks?.length ?? 0 },
    ...{ platform: null, digest: null, bytes: null, pauseMs: null },
    unusedDisks: [],
    hosts: [hostId],
    ...{ stored: false, storeProblem: null },
    pool: null,
    createdAt: at,
    updatedAt: at,
    spec,
  };
}
