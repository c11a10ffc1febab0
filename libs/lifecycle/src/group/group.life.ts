import type { Group, GroupEvent, GroupRecord, GroupStateName, GroupSummary, MicrovmSpec } from '#protocol';
import { EventRefusedError, IllegalHistoryError } from '../support/errors';
import { GROUP_LIMITS, groupBackoff } from './group.limits';

/** Raised whenever a change makes old histories fold differently. */
export const GROUP_MACHINE_VERSION = 1;

/** A spec that a group has or had; its image is pinned to its content. */
export interface GroupVersion {
  readonly revision: number;
  readonly spec: MicrovmSpec;
  readonly specHash: string;
}

export interface GroupMember {
  readonly microvmId: string;
  readonly specRevision: number;
  readonly specHash: string;
  /** `coming` until it ran for the first time; `leaving` once the group has given it up. */
  readonly phase: 'coming' | 'ready' | 'leaving';
  readonly reason: string | null;
}

/** The folded history of one group. */
export interface GroupLife {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly state: GroupStateName;
  readonly replicas: number;
  readonly maxSurge: number;
  readonly maxUnavailable: number;
  /** What members shall be made from. */
  readonly wanted: GroupVersion;
  /** What all of them were made from last; while a rollout is halted, what new ones are made from. */
  readonly stable: GroupVersion;
  /** Why the rollout does not go on. */
  readonly halted: string | null;
  /** New members that failed in this rollout. */
  readonly rolloutFailures: number;
  /** By microVM, in the order in which they were added. */
  readonly members: ReadonlyMap<string, GroupMember>;
  /** Rounds of failures in a row, and when the latest was. */
  readonly failures: number;
  readonly failedAt: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Stream sequence of its last record. */
  readonly revision: number;
}

/** A group that is being changed. */
export type GroupDraft = { -readonly [K in keyof GroupLife]: GroupLife[K] } & { members: Map<string, GroupMember> };

export function draftOf(life: GroupLife): GroupDraft {
  return { ...life, members: new Map(life.members) };
}

/** Before this instant no member is added. */
export function addsAgainAt({ failures, failedAt }: GroupLife): number {
  return failures === 0 ? 0 : failedAt + groupBackoff(failures);
}

/** What new members are made from. */
export function versionForNew({ halted, stable, wanted }: GroupLife): GroupVersion {
  return halted === null ? wanted : stable;
}

/** Applies events to a group (null: there never was one), all or none. Throws {@link EventRefusedError}. */
export function applyGroupEvents(
  id: string,
  life: GroupLife | null,
  events: readonly GroupEvent[],
  at: number,
): GroupLife {
  let draft = life && draftOf(life);
  for (const event of events) {
    if (event.type === 'created') {
      if (draft && draft.state !== 'deleted') throw new EventRefusedError(event.type, draft.state);
      draft = newborn(id, event, at, draft);
    } else {
      if (!draft) throw new EventRefusedError(event.type, 'nothing');
      applyGroupEvent(draft, event, at);
    }
  }
  if (!draft) throw new EventRefusedError('nothing', 'nothing');
  return draft;
}

type Created = Extract<GroupEvent, { type: 'created' }>;

/** A name may be used again after its group was deleted; the history goes on. */
function newborn(id: string, event: Created, at: number, before: GroupDraft | null): GroupDraft {
  const { tenant, name, replicas, maxSurge, maxUnavailable, spec, specHash } = event;
  const wanted = { revision: (before?.wanted.revision ?? 0) + 1, spec, specHash };
  return {
    ...{ id, tenant, name, replicas, maxSurge, maxUnavailable, wanted },
    state: 'active',
    stable: wanted,
    halted: null,
    rolloutFailures: 0,
    members: new Map(),
    failures: 0,
    failedAt: 0,
    createdAt: at,
    updatedAt: at,
    revision: before?.revision ?? 0,
  };
}

/** Changes the draft. Throws {@link EventRefusedError}. */
export function applyGroupEvent(draft: GroupDraft, event: Exclude<GroupEvent, Created>, at: number): void {
  if (draft.state === 'deleted') throw new EventRefusedError(event.type, draft.state);
  draft.updatedAt = at;
  switch (event.type) {
    case 'scaled':
      mustBeActive(draft, event);
      draft.replicas = event.replicas;
      return;
    case 'specReplaced': {
      mustBeActive(draft, event);
      const { spec, specHash, maxSurge, maxUnavailable } = event;
      draft.wanted = { revision: draft.wanted.revision + 1, spec, specHash };
      Object.assign(draft, { maxSurge, maxUnavailable, halted: null, rolloutFailures: 0, failures: 0, failedAt: 0 });
      return;
    }
    case 'deleteRequested':
      mustBeActive(draft, event);
      draft.state = 'deleting';
      return;
    case 'memberAdded': {
      mustBeActive(draft, event);
      const { microvmId, specRevision, specHash } = event;
      if (draft.members.has(microvmId)) throw new EventRefusedError(event.type, `group with ${microvmId}`);
      draft.members.set(microvmId, { microvmId, specRevision, specHash, phase: 'coming', reason: null });
      return;
    }
    case 'memberWaits':
      return changeMember(draft, event, { reason: event.reason });
    case 'memberReady':
      return changeMember(draft, event, { phase: 'ready', reason: null });
    case 'memberRetired':
      if (event.failed) countFailure(draft, memberOf(draft, event), event.ranMs, at);
      return changeMember(draft, event, { phase: 'leaving', reason: event.reason });
    case 'memberGone':
      memberOf(draft, event);
      draft.members.delete(event.microvmId);
      return;
    case 'rolloutHalted':
      mustBeActive(draft, event);
      draft.halted = event.reason;
      return;
    case 'rolloutFinished':
      mustBeActive(draft, event);
      draft.stable = draft.wanted;
      draft.rolloutFailures = 0;
      return;
    case 'deleted':
      if (draft.state !== 'deleting' || draft.members.size > 0) throw new EventRefusedError(event.type, draft.state);
      draft.state = 'deleted';
      return;
  }
}

function mustBeActive({ state }: GroupDraft, { type }: GroupEvent): void {
  if (state !== 'active') throw new EventRefusedError(type, state);
}

function memberOf(draft: GroupDraft, { type, microvmId }: { type: string; microvmId: string }): GroupMember {
  const member = draft.members.get(microvmId);
  if (!member) throw new EventRefusedError(type, `group without ${microvmId}`);
  return member;
}

function changeMember(
  draft: GroupDraft,
  event: { type: string; microvmId: string },
  change: Partial<Pick<GroupMember, 'phase' | 'reason'>>,
): void {
  const member = memberOf(draft, event);
  if (member.phase === 'leaving') throw new EventRefusedError(event.type, `group that has given up ${event.microvmId}`);
  draft.members.set(event.microvmId, { ...member, ...change });
}

function countFailure(draft: GroupDraft, member: GroupMember, ranMs: number | null, at: number): void {
  if (isRolling(draft) && member.specHash === draft.wanted.specHash) draft.rolloutFailures++;
  if (ranMs !== null && ranMs >= GROUP_LIMITS.goodRun) {
    draft.failures = 1;
  } else if (at < addsAgainAt(draft)) {
    return; // of the same round: members that fail together have failed once
  } else {
    draft.failures++;
  }
  draft.failedAt = at;
}

/** A replacement of the spec has begun and not been finished. */
export function isRolling({ wanted, stable }: GroupLife): boolean {
  return wanted.revision !== stable.revision;
}

/** Folds one stored record. Throws {@link IllegalHistoryError} when these rules would not have accepted it. */
export function foldGroupRecord(life: GroupLife | null, record: GroupRecord, sequence: number): GroupLife {
  const { groupId, events, at, to } = record;
  try {
    const next = applyGroupEvents(groupId, life, events, at);
    if (next.state !== to) throw new EventRefusedError(`a record to ${to}`, next.state);
    return { ...next, revision: sequence };
  } catch (error) {
    if (error instanceof EventRefusedError) {
      throw new IllegalHistoryError(`group ${groupId} #${sequence}: ${error.message}`);
    }
    throw error;
  }
}

const iso = (ms: number): string => new Date(ms).toISOString();

export function summariseGroup(life: GroupLife): GroupSummary {
  const { id, tenant, name, state, replicas, maxSurge, maxUnavailable, wanted, halted, revision } = life;
  const members = [...life.members.values()];
  const staying = members.filter(({ phase }) => phase !== 'leaving');
  const current = staying.filter(({ specHash }) => specHash === wanted.specHash).length;
  return {
    ...{ id, tenant, name, state, replicas, maxSurge, maxUnavailable },
    image: wanted.spec.image,
    specRevision: wanted.revision,
    rollout: { state: halted !== null ? 'halted' : isRolling(life) ? 'rolling' : 'done', reason: halted },
    counts: {
      current,
      outdated: staying.length - current,
      ready: staying.filter(({ phase }) => phase === 'ready').length,
      leaving: members.length - staying.length,
    },
    createdAt: iso(life.createdAt),
    updatedAt: iso(life.updatedAt),
    revision,
  };
}

export function viewGroup(life: GroupLife): Group {
  return {
    ...summariseGroup(life),
    spec: life.wanted.spec,
    members: [...life.members.values()].map(({ microvmId, specRevision, phase, reason }) => ({
      ...{ microvmId, specRevision, reason },
      state: phase,
    })),
  };
}
