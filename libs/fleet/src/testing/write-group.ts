import type { Journal } from '#journal';
import { decideGroupEvents, foldGroupRecord, type GroupLife } from '#lifecycle';
import { groupHistory, MicrovmSpec, type GroupEvent, type GroupRecord } from '#protocol';

/** The first event of a group of three canaries. */
export function created(name: string): GroupEvent {
  const spec = MicrovmSpec.parse({ image: 'canary' });
  return { type: 'created', tenant: 'default', name, replicas: 3, spec, specHash: 'x', maxSurge: 1, maxUnavailable: 0 };
}

export const deleteRequested: GroupEvent = { type: 'deleteRequested' };

/** Puts the history of a group on its stream, each item one record, a second after the other. */
export async function writeGroup(
  journal: Journal<GroupRecord>,
  groupId: string,
  steps: readonly (GroupEvent | GroupEvent[])[],
  startMs = Date.now(),
): Promise<void> {
  let life: GroupLife | null = null;
  for (const [i, step] of steps.entries()) {
    const commandId = `${groupId}.${i}`;
    const occasion = { groupId, commandId, cause: { kind: 'operator', by: 'test' } as const, at: startMs + i * 1_000 };
    const decision = decideGroupEvents(life, [step].flat(), occasion);
    if (decision.kind !== 'record') throw new Error(`step ${i} of group ${groupId} is ${decision.kind}`);
    const options = { commandId, expectedSequence: life?.revision ?? 0 };
    const { sequence } = await journal.append(groupHistory(groupId), decision.record, options);
    life = foldGroupRecord(life, decision.record, sequence);
  }
}
