import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER, UNANSWERED } from '#bus';
import {
  heartbeatMs,
  HOST_LIMITS,
  hostContext,
  hostState,
  isPresent,
  microvmContext,
  type MicrovmLife,
  microvmState,
  ON_HOST,
} from '#lifecycle';
import { OperationError, registerHost, type HostEvent, type ReplyOf, type RequestOf } from '#protocol';
import { EffectRunner } from '../effects/effect-runner';
import { HostHistories } from '../histories/host-histories';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';
import { HostLeases } from './host-leases';
import { erase, isSuperseded, isWanted, mayNotLive } from './unwanted-incarnation';

type Registration = RequestOf<typeof registerHost>;
type Held = Registration['inventory'][number];

/**
 * Takes hosts in and compares what each holds with the histories. Every replica hears of a registration: each compares the microVMs that
 * it owns, and the owner of the host takes it in and answers.
 */
@Injectable()
export class HostRegistration {
  constructor(
    private readonly hosts: HostHistories,
    private readonly microvms: MicrovmHistories,
    private readonly leases: HostLeases,
    private readonly effects: EffectRunner,
    private readonly partitions: Partitions,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async register({ description, inventory }: Registration): Promise<ReplyOf<typeof registerHost> | typeof UNANSWERED> {
    const { hostId } = description;
    // Before the first await: facts that the host sent after this message are not applied yet.
    const held = new Map(
      inventory.flatMap((one) => (this.partitions.owns(one.microvmId) ? [[one.microvmId, one]] : [])),
    );
    const expected = [...this.microvms.index.values()].filter(
      (life) => microvmContext(life).hostId === hostId && this.partitions.owns(life.id),
    );
    const answer = this.partitions.owns(hostId) ? await this.#takeIn(description) : UNANSWERED;
    void this.#compare(hostId, expected, held).catch((error: unknown) =>
      this.logger.error({ err: error, hostId }, 'comparison failed'),
    );
    return answer;
  }

  async #takeIn(description: Registration['description']): Promise<ReplyOf<typeof registerHost>> {
    const { hostId } = description;
    const known = this.hosts.get(hostId);
    const same = known && JSON.stringify(hostContext(known).description) === JSON.stringify(description);
    const state = known ? hostState(known) : null;
    const events: HostEvent[] = [];
    if (!same || state === null || !isPresent(state)) events.push({ type: 'registered', description });
    if (state === null || state === 'joining') events.push({ type: 'admitted' });
    if (events.length > 0) {
      const who = {
        commandId: `register.${description.bootId}.${Date.now()}`,
        cause: { kind: 'host' as const, by: hostId },
      };
      const { decision } = await this.hosts.record(hostId, who, events);
      if (decision.kind === 'refused')
        throw new OperationError('conflict', `host ${hostId} cannot register in state ${decision.state}`);
    }
    this.leases.heard(hostId);
    return {
      state: hostState(this.hosts.get(hostId)!),
      leaseMs: HOST_LIMITS.lease,
      heartbeatMs: heartbeatMs(this.hosts.all().length),
    };
  }

  async #compare(hostId: string, expected: MicrovmLife[], held: Map<string, Held>): Promise<void> {
    for (const life of expected) {
      const { epoch } = microvmContext(life);
      const there = held.get(life.id);
      if (there?.epoch === epoch && (await this.#isAsRecorded(hostId, life, there))) continue;
      const state = microvmState(life);
      // What is true is for the host to say, in order with its other facts: the inventory may be older than its last fact. A start may
      // still be on its way there, and is sent again.
      if (ON_HOST.has(state) && state !== 'starting')
        this.effects.perform(life, [{ type: 'verifyOnHost', hostId, epoch }]);
    }
    this.effects.hostReturned(hostId, expected);
    for (const one of held.values()) await this.#eraseIfUnwanted(hostId, one);
  }

  /** Records what the inventory tells where that is needed. True: nothing is left to ask. */
  async #isAsRecorded(hostId: string, life: MicrovmLife, there: Held): Promise<boolean> {
    const state = microvmState(life);
    if (there.as === 'ended' || there.as === 'starting') return there.as === 'starting' && state === 'starting';
    if (state === there.as) return true;
    if (state !== 'unreachable') return false;
    const who = { commandId: `observed.${hostId}.${life.revision}`, cause: { kind: 'host' as const, by: hostId } };
    const pid = there.pid === undefined ? {} : { pid: there.pid };
    await this.microvms.record(life.id, who, [
      { type: 'observed', hostId, epoch: there.epoch, as: there.as, ...pid, reason: 'found when its host registered' },
    ]);
    return true;
  }

  /**
   * The host holds an incarnation that the histories have moved on from, or have ended while it lives: it must go. One that no history knows stays, since the
   * histories, not the host, may be what is wrong; it is reported.
   */
  async #eraseIfUnwanted(hostId: string, held: Held): Promise<void> {
    const life = await this.microvms.findCurrent(held.microvmId);
    if (!life) {
      this.logger.warn(
        { hostId, microvmId: held.microvmId, as: held.as },
        'the host holds a microVM that no history knows',
      );
      return;
    }
    // What a later incarnation goes on from is an earlier one.
    if (held.as === 'suspended' && isWanted(life, hostId)) return;
    const goes = held.as === 'ended' ? isSuperseded(life, hostId, held.epoch) : mayNotLive(life, hostId, held.epoch);
    if (goes) this.effects.perform(life, [erase(hostId, held.epoch)]);
  }
}
