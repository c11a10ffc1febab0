import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles, type BusContext } from '#bus';
import { wallClockMs } from '#journal';
import {
  decideCommand,
  foldMicrovmRecord,
  microvmContext,
  microvmState,
  viewMicrovm,
  type MicrovmCommand,
  type MicrovmLife,
} from '#lifecycle';
import {
  createAtOwner,
  createMicrovm,
  deleteMicrovm,
  getMicrovm,
  killMicrovm,
  listMicrovms,
  microvmHistoryOf,
  OperationError,
  pauseMicrovm,
  protectMicrovm,
  resumeMicrovm,
  startAtOwner,
  startMicrovm,
  stopMicrovm,
  suspendMicrovm,
  tuneMicrovm,
  wakeMicrovm,
  type HistoryEntry,
  type Microvm,
  type Operation,
} from '#protocol';
import { SecurityAudit } from '../audit/security-audit';
import { MicrovmHistories } from '../histories/microvm-histories';
import { QuotaGate } from '../tenants/quota-gate';
import { TenantOwner } from '../tenants/tenant-owner';
import { askedBy } from './asked-by';
import { CreateMicrovm } from './create-microvm';
import { TuneMicrovm } from './tune-microvm';
import { unknownMicrovm } from './unknown-microvm';

/** What woke a microVM, by how it came. */
const KNOCKS = {
  tcp: (port: number) => `a connection to TCP port ${port} of its host`,
  udp: (port: number) => `a datagram for UDP port ${port} of its host`,
  vsock: (port: number) => `a connection of a program of its host to its vsock port ${port}`,
};

type RequestTo<O extends Operation> = z.output<O['request']>;

/** What operators ask about microVMs, as messages. */
@Controller()
export class MicrovmController {
  constructor(
    private readonly histories: MicrovmHistories,
    private readonly createMicrovm: CreateMicrovm,
    private readonly tuneMicrovm: TuneMicrovm,
    private readonly quotas: QuotaGate,
    private readonly audit: SecurityAudit,
    private readonly owner: TenantOwner,
  ) {}

  @Handles(createMicrovm)
  create(request: RequestTo<typeof createMicrovm>) {
    const { tenant } = request.spec;
    return this.owner.decide(tenant, createAtOwner, request, () => this.createMicrovm.execute(request));
  }

  @Handles(createAtOwner)
  createHere(request: RequestTo<typeof createAtOwner>) {
    return this.owner.decideHanded(request.spec.tenant, () => this.createMicrovm.execute(request));
  }

  @Handles(pauseMicrovm)
  pause(request: RequestTo<typeof pauseMicrovm>) {
    return this.#command(request, { type: 'pause' });
  }

  @Handles(resumeMicrovm)
  async resume(request: RequestTo<typeof resumeMicrovm>) {
    // A suspended one asks for its place anew, which its tenant's quotas are asked for like any start.
    if (microvmState(await this.#find(request.id)) === 'suspended') return this.start(request);
    return this.#command(request, { type: 'resume', requestedAt: wallClockMs() });
  }

  @Handles(suspendMicrovm)
  suspend(request: RequestTo<typeof suspendMicrovm>) {
    return this.#command(request, { type: 'suspend' });
  }

  @Handles(stopMicrovm)
  stop(request: RequestTo<typeof stopMicrovm>) {
    return this.#command(request, { type: 'stop', timeoutMs: request.timeoutMs });
  }

  @Handles(startMicrovm)
  async start(request: RequestTo<typeof startMicrovm>) {
    const tenant = await this.#tenantOf(request.id);
    return this.owner.decide(tenant, startAtOwner, request, () => this.#start(request));
  }

  @Handles(startAtOwner)
  async startHere(request: RequestTo<typeof startAtOwner>) {
    return this.owner.decideHanded(await this.#tenantOf(request.id), () => this.#start(request));
  }

  @Handles(killMicrovm)
  kill(request: RequestTo<typeof killMicrovm>) {
    return this.#command(request, { type: 'kill' });
  }

  @Handles(protectMicrovm)
  protect(request: RequestTo<typeof protectMicrovm>) {
    return this.#command(request, { type: 'protect', enabled: request.enabled });
  }

  @Handles(tuneMicrovm)
  tune(request: RequestTo<typeof tuneMicrovm>) {
    return this.tuneMicrovm.execute(request);
  }

  @Handles(deleteMicrovm)
  delete(request: RequestTo<typeof deleteMicrovm>) {
    return this.#command(request, { type: 'delete' });
  }

  @Handles(getMicrovm)
  async get({ id }: RequestTo<typeof getMicrovm>) {
    return { microvm: viewMicrovm(await this.#find(id)) };
  }

  @Handles(listMicrovms)
  list(filter: RequestTo<typeof listMicrovms>) {
    return this.histories.index.list(filter);
  }

  @Handles(microvmHistoryOf)
  async history({ id, at }: RequestTo<typeof microvmHistoryOf>) {
    const records = await this.histories.read(id);
    if (records.length === 0) throw unknownMicrovm(id);
    const entries: HistoryEntry[] = [];
    let life: MicrovmLife | null = null;
    for (const { record, sequence } of records) {
      if (at !== undefined && record.at > at) break;
      const before: number | undefined = life?.updatedAt;
      life = foldMicrovmRecord(life, record, sequence);
      entries.push({
        sequence,
        at: new Date(record.at).toISOString(),
        commandId: record.commandId,
        cause: record.cause,
        from: record.from,
        to: record.to,
        latencyMs: before === undefined ? null : Math.round((record.at - before) * 1000) / 1000,
        events: record.events,
      });
    }
    const microvm: Microvm | null = life && viewMicrovm(life);
    return { id, entries, microvm };
  }

  /** The subject says which host speaks. Whoever knocked is the host's word, and in the history. */
  @Handles(wakeMicrovm)
  async wake({ microvmId, epoch, port, protocol }: RequestTo<typeof wakeMicrovm>, { values }: BusContext) {
    const hostId = values['hostId']!;
    const life = await this.#find(microvmId);
    const { spec, hostId: at, epoch: now } = microvmContext(life);
    const source = protocol === 'vsock' ? 'vsock' : 'packet';
    if (microvmState(life) !== 'suspended' || at !== hostId || now !== epoch || !spec.wakeOn?.includes(source)) {
      throw new OperationError(
        'conflict',
        `microVM ${microvmId} is not one that is suspended there and wants to be woken`,
      );
    }
    const reason = `woken by ${KNOCKS[protocol](port)}`;
    const request = {
      id: microvmId,
      commandId: `wake.${microvmId}.${epoch}.${life.revision}`,
      woken: { hostId, reason },
    };
    await this.owner.decide(spec.tenant, startAtOwner, request, () => this.#start(request));
    return {};
  }

  #start(request: RequestTo<typeof startAtOwner>) {
    const { woken } = request;
    const command = { type: 'start' as const, requestedAt: wallClockMs(), woken: woken?.reason };
    return this.quotas.start(request.id, () => this.#command(request, command, woken && woke(request, woken.hostId)));
  }

  async #tenantOf(id: string): Promise<string> {
    return microvmContext(await this.#find(id)).spec.tenant;
  }

  async #command(
    request: { id: string; commandId?: string | undefined; by?: string | undefined },
    command: MicrovmCommand,
    who = askedBy(request),
  ) {
    const { id } = request;
    const { decision, life, appended } = await this.histories.decide(id, who, (life, occasion) => {
      if (!life) throw unknownMicrovm(id);
      return decideCommand(life, command, occasion);
    });
    if (decision.kind === 'refused') {
      const why = decision.reason ?? `it cannot ${command.type} now`;
      throw new OperationError('conflict', `microVM ${id} is ${decision.state}: ${why}`);
    }
    if (decision.kind === 'record' && !appended) this.audit.replayedCommand(id, who.commandId, who.cause.by);
    return { microvm: viewMicrovm(life!) };
  }

  async #find(id: string): Promise<MicrovmLife> {
    const life = await this.histories.find(id);
    if (!life) throw unknownMicrovm(id);
    return life;
  }
}

function woke({ commandId }: { commandId?: string | undefined }, hostId: string): ReturnType<typeof askedBy> {
  return { ...askedBy({ commandId }), cause: { kind: 'host', by: hostId } };
}
