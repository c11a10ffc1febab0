import type { Cause, GroupEvent, GroupRecord, GroupStateName } from '#protocol';
import { EventRefusedError } from '../support/errors';
import { applyGroupEvents, GROUP_MACHINE_VERSION, type GroupLife } from './group.life';

export type GroupDecision =
  | { kind: 'record'; record: GroupRecord; advance: { life: GroupLife } }
  | { kind: 'nothing' }
  | { kind: 'refused'; state: GroupStateName | null };

/** Decides events of a group, all or none. */
export function decideGroupEvents(
  life: GroupLife | null,
  events: GroupEvent[],
  occasion: { groupId: string; commandId: string; cause: Cause; at: number },
): GroupDecision {
  if (events.length === 0) return { kind: 'nothing' };
  try {
    const next = applyGroupEvents(occasion.groupId, life, events, occasion.at);
    const states = { from: life?.state ?? null, to: next.state };
    const record: GroupRecord = { machine: GROUP_MACHINE_VERSION, ...occasion, ...states, events };
    return { kind: 'record', record, advance: { life: next } };
  } catch (error) {
    if (error instanceof EventRefusedError) return { kind: 'refused', state: life?.state ?? null };
    throw error;
  }
}
