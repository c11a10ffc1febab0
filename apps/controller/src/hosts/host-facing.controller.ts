import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles, UNANSWERED, type BusContext } from '#bus';
import { HOST_LIMITS, hostState, isPresent } from '#lifecycle';
import {
  heartbeat,
  OperationError,
  registerHost,
  reportFact,
  reportGuardActs,
  reportStaleCommand,
  syncHostClass,
  type HostFact,
} from '#protocol';
import { SecurityAudit } from '../audit/security-audit';
import { HostClassKeeper } from '../host-classes/host-class-keeper';
import { HostHistories } from '../histories/host-histories';
import { Partitions } from '../partitions/partitions';
import { FactRecorder } from './fact-recorder';
import { HostLeases } from './host-leases';
import { HostRegistration } from './host-registration';

/**
 * What hosts tell, as messages. NATS lets a host publish on its own subjects only, so the subject, not the message, says who speaks: a
 * message that speaks of another host is forged, and refused.
 */
@Controller()
export class HostFacingController {
  constructor(
    private readonly hosts: HostHistories,
    private readonly leases: HostLeases,
    private readonly registration: HostRegistration,
    private readonly facts: FactRecorder,
    private readonly classes: HostClassKeeper,
    private readonly partitions: Partitions,
    private readonly audit: SecurityAudit,
  ) {}

  @Handles(registerHost)
  register(request: z.output<(typeof registerHost)['request']>, context: BusContext) {
    this.#requireOwn(context, request.description.hostId);
    return this.registration.register(request);
  }

  @Handles(heartbeat)
  heartbeat({ hostId }: z.output<(typeof heartbeat)['request']>, context: BusContext) {
    this.#requireOwn(context, hostId);
    this.leases.heard(hostId);
    if (!this.partitions.owns(hostId)) return UNANSWERED;
    const life = this.hosts.get(hostId);
    const state = life && hostState(life);
    // Whoever is not counted on has to say anew what it is and holds.
    if (!state || !isPresent(state)) return { unknown: true, leaseMs: HOST_LIMITS.lease };
    return { unknown: false, state, leaseMs: HOST_LIMITS.lease };
  }

  @Handles(reportFact)
  fact(request: z.output<(typeof reportFact)['request']>, context: BusContext) {
    if (!this.partitions.owns(context.values['hostId']!)) return UNANSWERED;
    this.#requireOwn(context, (request.fact as HostFact).hostId);
    return this.facts.report(request);
  }

  @Handles(reportStaleCommand)
  staleCommand(told: z.output<(typeof reportStaleCommand)['request']>, { values }: BusContext): Record<string, never> {
    this.audit.staleCommand(values['hostId']!, told);
    return {};
  }

  @Handles(syncHostClass)
  syncClass({ held }: z.output<(typeof syncHostClass)['request']>, { values }: BusContext) {
    const hostId = values['hostId']!;
    return this.partitions.owns(hostId) ? this.classes.sync(hostId, held) : UNANSWERED;
  }

  @Handles(reportGuardActs)
  async guardActs(
    { factId, acts, omitted }: z.output<(typeof reportGuardActs)['request']>,
    { values }: BusContext,
  ): Promise<{ recorded: boolean } | typeof UNANSWERED> {
    const hostId = values['hostId']!;
    if (!this.partitions.owns(hostId)) return UNANSWERED;
    const who = { commandId: factId, cause: { kind: 'host' as const, by: hostId } };
    const { decision } = await this.hosts.record(hostId, who, [{ type: 'guardsActed', batch: factId, acts, omitted }]);
    return { recorded: decision.kind === 'record' };
  }

  /** @throws OperationError `forbidden` when a host speaks of another one. */
  #requireOwn({ values, subject }: BusContext, claimedHostId: string): void {
    const { hostId } = values;
    if (hostId === claimedHostId) return;
    this.audit.forgedFact(hostId ?? '', claimedHostId, subject);
    throw new OperationError('forbidden', `host ${hostId} may not speak for host ${claimedHostId}`);
  }
}
