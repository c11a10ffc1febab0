import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { LOGGER, SHUTDOWN } from '#bus';
import { Pacer } from '#concurrency';
import { DeadlineQueue, steadyClock, steadyDue, wallClockMs } from '#journal';
import { GROUP_LIMITS, planGroup, type GroupLife, type GroupMember, type Sighting } from '#lifecycle';
import { OperationError, partitionOf, sortableId } from '#protocol';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';
import { GroupHistories } from './group-histories';
import { GroupMembers } from './group-members';

/** Members created or removed at a time, over all groups: operators' own commands want their turn too. */
const AT_ONCE = 16;
/** Changes come in bunches, and planning looks at every member: they are looked at together, ms. */
const GATHER_MS = 20;
/** Waits before something that failed is tried again, ms. */
const RETRY_MS = { first: 500, most: 30_000 };

/**
 * Keeps the groups of our partitions as they shall be: plans, puts the plan on record, does what is on record. Woken by changes
 * of a group or of a member. Two that do so at once harm nothing: a plan is recorded only on the life it was made from, and a member
 * is created and removed under the id that is on record.
 */
@Injectable()
export class GroupReconciler implements OnModuleDestroy {
  readonly #pacer = new Pacer(AT_ONCE);
  /** Groups that are being planned. */
  readonly #planning = new Set<string>();
  /** Members that something is done with. */
  readonly #underWay = new Set<string>();
  /** Waits of members that something failed with, ms; they end on the steady clock. */
  readonly #waits = new Map<string, { ms: number; until: number }>();
  readonly #rounds = new DeadlineQueue<string>({ due: (id) => void this.#round(id), clock: steadyClock });

  constructor(
    private readonly groups: GroupHistories,
    private readonly members: GroupMembers,
    private readonly partitions: Partitions,
    microvms: MicrovmHistories,
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
  ) {
    groups.onChange(({ id }) => this.#wake(id));
    microvms.listen({
      changed: ({ id }) => {
        const groupId = groups.groupOf(id);
        if (groupId !== undefined) this.#wake(groupId);
      },
      asked: () => {},
    });
    partitions.onChange(({ gained }) => {
      for (const { id } of groups.all()) if (gained.has(partitionOf(id))) this.#wake(id);
    });
  }

  onModuleDestroy(): void {
    this.#rounds.stop();
  }

  #wake(id: string): void {
    this.#wakeAt(id, steadyClock.now() + GATHER_MS);
  }

  /** Has a round done then, on the steady clock, or earlier. */
  #wakeAt(id: string, at: number): void {
    if ((this.#rounds.get(id) ?? Infinity) > at) this.#rounds.set(id, at);
  }

  async #round(id: string): Promise<void> {
    if (this.#planning.has(id)) return this.#wake(id);
    this.#planning.add(id);
    try {
      await this.#reconcile(id);
    } catch (error) {
      this.logger.warn({ err: error, groupId: id }, 'a group could not be looked after yet');
      this.#wakeAt(id, steadyClock.now() + RETRY_MS.first);
    } finally {
      this.#planning.delete(id);
    }
  }

  async #reconcile(id: string): Promise<void> {
    while (!this.shutdown.aborted && this.partitions.owns(id)) {
      const life = this.groups.get(id);
      if (!life || life.state === 'deleted') return;
      const sightings = await this.#look(life);
      const now = wallClockMs();
      const plan = planGroup(life, {
        look: (microvmId) => sightings.get(microvmId)!,
        newId: () => this.#newId(now, sightings),
        now,
      });
      if (plan.wakeAt !== undefined) {
        this.#wakeAt(id, steadyDue({ dueAt: plan.wakeAt, delayMs: GROUP_LIMITS.longestBackoff }));
      }
      if (plan.events.length === 0) return this.#carryOut(life, sightings);
      await this.groups.decide(
        id,
        { commandId: `plan.${id}.${life.revision}`, cause: { kind: 'controller', by: 'groups' } },
        (current) => (current?.revision === life.revision ? plan.events : []),
      );
    }
  }

  async #look({ members }: GroupLife): Promise<Map<string, Sighting>> {
    const sightings = new Map<string, Sighting>();
    for (const id of members.keys()) sightings.set(id, await this.members.sighted(id));
    return sightings;
  }

  /** The plan may look at what it has just added. */
  #newId(now: number, sightings: Map<string, Sighting>): string {
    const id = sortableId(Math.floor(now), randomBytes(10));
    sightings.set(id, { state: 'unborn', reason: null, isProtected: false, ranMs: null });
    return id;
  }

  #carryOut(life: GroupLife, sightings: Map<string, Sighting>): void {
    for (const member of life.members.values()) {
      const { state } = sightings.get(member.microvmId)!;
      if (member.phase === 'leaving') {
        if (state !== 'deleting' && state !== 'deleted') void this.#once(life, member, 'remove');
      } else if (state === 'unborn') void this.#once(life, member, 'create');
    }
  }

  async #once(life: GroupLife, member: GroupMember, act: 'create' | 'remove'): Promise<void> {
    const { microvmId } = member;
    const wait = this.#waits.get(microvmId);
    if (wait && wait.until > steadyClock.now()) return this.#wakeAt(life.id, wait.until);
    if (this.#underWay.has(microvmId)) return;
    this.#underWay.add(microvmId);
    try {
      await this.#pacer.run(() => this.members[act](life, member));
      this.#waits.delete(microvmId);
      // A protected member stays; its change wakes us.
    } catch (error) {
      await this.#failed(life, member, act, error);
    } finally {
      this.#underWay.delete(microvmId);
    }
  }

  async #failed(
    life: GroupLife,
    { microvmId, phase, reason }: GroupMember,
    act: string,
    error: unknown,
  ): Promise<void> {
    if (this.shutdown.aborted) return;
    const ms = Math.min(RETRY_MS.most, 2 * (this.#waits.get(microvmId)?.ms ?? RETRY_MS.first / 2));
    const until = steadyClock.now() + ms;
    this.#waits.set(microvmId, { ms, until });
    this.#wakeAt(life.id, until);
    const why = `cannot ${act} it yet: ${error instanceof Error ? error.message : String(error)}`;
    this.logger.warn({ err: error, groupId: life.id, microvmId }, `a group ${why}`);
    const isOurs = error instanceof OperationError && !['unavailable', 'timeout'].includes(error.code);
    if (phase === 'leaving' || !isOurs || reason === why) return;
    const cause = { kind: 'controller' as const, by: 'groups' };
    await this.groups
      .decide(life.id, { commandId: `waits.${microvmId}.${life.revision}`, cause }, (current) => {
        const member = current?.members.get(microvmId);
        return !member || member.phase === 'leaving' || member.reason === why
          ? []
          : [{ type: 'memberWaits', microvmId, reason: why }];
      })
      .catch((problem: unknown) => this.logger.warn({ err: problem, groupId: life.id }, 'not on record yet'));
  }
}
