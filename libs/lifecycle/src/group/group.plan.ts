import type { GroupEvent, MicrovmStateName } from '#protocol';
import {
  addsAgainAt,
  applyGroupEvent,
  draftOf,
  isRolling,
  versionForNew,
  type GroupDraft,
  type GroupLife,
  type GroupMember,
} from './group.life';
import { GROUP_LIMITS } from './group.limits';

/** What is known of a member's microVM. */
export interface Sighting {
  /** `unborn`: it was never created. */
  state: MicrovmStateName | 'unborn';
  reason: string | null;
  isProtected: boolean;
  /** How long its latest run lasted, ms; null while it runs, or when it never did. */
  ranMs: number | null;
}

export interface PlanInput {
  look: (microvmId: string) => Sighting;
  /** A new id for a microVM, each time. */
  newId: () => string;
  /** ms since 1970. */
  now: number;
}

export interface Plan {
  /** What to put on record, and then to do. None: nothing is to be decided as things are. */
  events: GroupEvent[];
  /** When there is something to decide even if nothing happens; ms since 1970. */
  wakeAt?: number;
}

/**
 * What a group does next. Pure; asked again after every change of the group or of a member until there is nothing more to
 * decide. A member exists in the record before its microVM does, so whoever crashes in between creates the same one again.
 */
export function planGroup(life: GroupLife, input: PlanInput): Plan {
  if (life.state === 'deleted') return { events: [] };
  return new Planner(life, input).plan();
}

class Planner {
  readonly #draft: GroupDraft;
  readonly #events: GroupEvent[] = [];
  #wakeAt: number | undefined;

  constructor(
    life: GroupLife,
    private readonly input: PlanInput,
  ) {
    this.#draft = draftOf(life);
  }

  plan(): Plan {
    this.#noteWhatBecameOfMembers();
    if (this.#draft.state === 'deleting') this.#windUp();
    else {
      this.#judgeRollout();
      this.#fill();
      this.#retireOutdated();
      this.#retireSurplus();
    }
    return { events: this.#events, ...(this.#wakeAt === undefined ? {} : { wakeAt: this.#wakeAt }) };
  }

  #emit(event: Exclude<GroupEvent, { type: 'created' }>): void {
    applyGroupEvent(this.#draft, event, this.input.now);
    this.#events.push(event);
  }

  #retire({ microvmId }: GroupMember, reason: string): void {
    this.#emit({ type: 'memberRetired', microvmId, reason, failed: false, ranMs: null });
  }

  #noteWhatBecameOfMembers(): void {
    for (const { microvmId, phase } of [...this.#draft.members.values()]) {
      const { state, reason, isProtected, ranMs } = this.input.look(microvmId);
      if (state === 'deleted') {
        this.#emit({ type: 'memberGone', microvmId, reason: reason ?? 'it is deleted' });
      } else if (phase === 'leaving') {
        continue;
      } else if (state === 'deleting') {
        this.#emit({ type: 'memberRetired', microvmId, reason: 'it is being deleted', failed: false, ranMs: null });
      } else if ((state === 'failed' || state === 'stopped') && !isProtected) {
        const why = `it is ${state}: ${reason ?? 'nobody said why'}`;
        this.#emit({ type: 'memberRetired', microvmId, reason: why, failed: true, ranMs });
      } else if (state === 'running' && phase === 'coming') {
        this.#emit({ type: 'memberReady', microvmId });
      }
    }
  }

  #windUp(): void {
    for (const member of this.#staying()) {
      if (!this.#isProtected(member)) this.#retire(member, 'its group is being deleted');
    }
    if (this.#draft.members.size === 0) this.#emit({ type: 'deleted' });
  }

  #judgeRollout(): void {
    const { rolloutFailures, halted, replicas } = this.#draft;
    if (!isRolling(this.#draft) || halted !== null) return;
    if (rolloutFailures >= GROUP_LIMITS.rolloutFailures) {
      const reason =
        `${rolloutFailures} members of the new spec failed; what is left of the old one stays. ` +
        'Replace the spec by one that works, or by the old one';
      return this.#emit({ type: 'rolloutHalted', reason });
    }
    const staying = this.#staying();
    const isDone =
      staying.length === replicas && staying.every((member) => !this.#isOutdated(member) && this.#isAvailable(member));
    if (isDone) this.#emit({ type: 'rolloutFinished' });
  }

  /** Adds what is missing, and during a rollout as many more as may be there at a time. */
  #fill(): void {
    const { replicas, maxSurge } = this.#draft;
    const staying = this.#staying();
    const current = staying.filter((member) => !this.#isOutdated(member)).length;
    const isReplacing = current < staying.length;
    const missing = isReplacing
      ? Math.min(replicas - current, replicas + maxSurge - staying.length)
      : replicas - staying.length;
    if (missing <= 0) return;
    const notBefore = addsAgainAt(this.#draft);
    if (this.input.now < notBefore) {
      this.#wakeAt = notBefore;
      return;
    }
    const { revision: specRevision, specHash } = versionForNew(this.#draft);
    const reason = isReplacing
      ? `spec ${specRevision} replaces others: ${current} of ${replicas} are of it`
      : `${staying.length} of ${replicas} are there`;
    for (let i = 0; i < Math.min(missing, GROUP_LIMITS.addedAtOnce); i++) {
      this.#emit({ type: 'memberAdded', microvmId: this.input.newId(), specRevision, specHash, reason });
    }
  }

  /** Members of other specs go when they are of no use, or as soon as enough are available without them. */
  #retireOutdated(): void {
    const { replicas, maxUnavailable } = this.#draft;
    const outdated = this.#staying().filter((member) => this.#isOutdated(member) && !this.#isProtected(member));
    const useless = outdated.filter((member) => !this.#isAvailable(member));
    for (const member of useless) this.#retire(member, `of spec ${member.specRevision}, and not running`);
    let spare = this.#available() - Math.max(0, replicas - maxUnavailable);
    for (const member of outdated.filter((one) => this.#isAvailable(one))) {
      if (spare-- <= 0) return;
      this.#retire(member, `of spec ${member.specRevision}; enough are available without it`);
    }
  }

  /** The youngest go first, those that never ran before all others; while a rollout is halted, those of the new spec. */
  #retireSurplus(): void {
    const { replicas, maxSurge, halted, wanted } = this.#draft;
    const staying = this.#staying();
    const isReplacing = staying.some((member) => this.#isOutdated(member));
    const surplus = staying.length - (isReplacing ? replicas + maxSurge : replicas);
    if (surplus <= 0) return;
    const rank = (member: GroupMember): number =>
      (member.phase === 'ready' ? 1 : 0) + (halted !== null && member.specHash === wanted.specHash ? 0 : 2);
    const leavers = staying
      .filter((member) => !this.#isProtected(member))
      .reverse()
      .sort((a, b) => rank(a) - rank(b));
    for (const member of leavers.slice(0, surplus)) this.#retire(member, `one more than the ${replicas} of the group`);
  }

  #staying(): GroupMember[] {
    return [...this.#draft.members.values()].filter(({ phase }) => phase !== 'leaving');
  }

  /** A halted rollout leaves everybody as they are. */
  #isOutdated({ specHash }: GroupMember): boolean {
    const { wanted, halted } = this.#draft;
    return halted === null && specHash !== wanted.specHash;
  }

  #isAvailable({ microvmId }: GroupMember): boolean {
    return this.#draft.members.get(microvmId)?.phase === 'ready' && this.input.look(microvmId).state === 'running';
  }

  #isProtected({ microvmId }: GroupMember): boolean {
    return this.input.look(microvmId).isProtected;
  }

  #available(): number {
    return this.#staying().filter((member) => this.#isAvailable(member)).length;
  }
}
