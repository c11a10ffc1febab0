import type { GroupEvent, GroupHistoryEntry, GroupRecord } from '#protocol';

/** One record of a group's history, for readers. */
export function groupHistoryEntry(record: GroupRecord, sequence: number): GroupHistoryEntry {
  const { at, commandId, cause, events } = record;
  return { sequence, at: new Date(at).toISOString(), commandId, cause, events: events.map(withoutSpec) };
}

/** Metadata and environments in it may be secrets, and it is long. */
function withoutSpec(event: GroupEvent): GroupHistoryEntry['events'][number] {
  if (!('spec' in event)) return event;
  const { spec, ...rest } = event;
  return { ...rest, image: spec.image };
}
