import type { Group, GroupHistoryEntry } from '#protocol';

/** Reasons of these speak of the group alone; those of others may speak of hosts, and are the fleet's. */
const OWN_REASONS: readonly string[] = ['memberAdded', 'rolloutHalted'];
const ENDED = 'it ended by itself; its own history says how';

/** A group as its tenant sees it: all of it, but no word of hosts. */
export function groupForTenant(group: Group): Group {
  return { ...group, members: group.members.map((member) => ({ ...member, reason: null })) };
}

export function groupEntryForTenant({ sequence, at, cause, events }: GroupHistoryEntry): GroupHistoryEntry {
  const { kind } = cause;
  return {
    sequence,
    at,
    commandId: `${kind}.${sequence}`,
    cause: { kind, by: kind },
    events: events.map((event) => {
      if (!('reason' in event) || OWN_REASONS.includes(event.type)) return event;
      const { reason, ...rest } = event;
      return { ...rest, reason: event['failed'] === false ? reason : ENDED };
    }),
  };
}
