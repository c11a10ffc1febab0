import { MicrovmSpec, timeOfId, type MicrovmRecord, type MicrovmStateName } from '#protocol';
import type { Life } from '../support/life';
import { Timers } from '../support/timers';
import { initialContext } from './microvm.context';
import type { MicrovmEffect } from './microvm.effects';

/** What a microVM was is gone with its history; no tenant has this name, so it shows to operators only. */
const FORGOTTEN: MicrovmSpec = { ...MicrovmSpec.parse({ image: 'unknown' }), tenant: '' };

/**
 * Whether a record is the end of a history that retention has compacted: of a deleted microVM its last record stays, so that its id is
 * never used again. A reader that was on its way through the stream meanwhile has seen any part of the history before it.
 */
export function endsCompacted(record: MicrovmRecord, folded: MicrovmStateName | null): boolean {
  return record.to === 'deleted' && record.from !== null && folded !== 'deleted' && folded !== record.from;
}

/** The life of which only the end is on record: the same for every reader, however much of it that one has seen. */
export function compactedLife(record: MicrovmRecord): Life<MicrovmEffect> {
  const createdAt = timeOfId(record.microvmId) ?? record.at;
  const context = {
    ...initialContext({ spec: FORGOTTEN, specHash: '', requestedAt: createdAt, at: createdAt }),
    reason: 'deleted long ago; what came before is no longer on record',
  };
  return {
    state: 'deleted',
    context,
    isOver: true,
    timers: Timers.NONE,
    outstanding: [],
    createdAt,
    updatedAt: record.at,
    enteredAt: record.at,
  };
}
