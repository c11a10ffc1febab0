import type { TuningRecord } from '#protocol';

/** What a change is about: a later one about the same replaces it. */
function subjectOf(tuning: TuningRecord): string {
  return tuning.kind === 'limit' ? `limit ${tuning.device} ${tuning.direction ?? ''}` : tuning.kind;
}

function replaces(later: TuningRecord, earlier: TuningRecord): boolean {
  if (later.kind === 'limit' && later.direction === undefined) {
    return earlier.kind === 'limit' && earlier.device === later.device; // both directions at once
  }
  return subjectOf(later) === subjectOf(earlier);
}

/** The changes that hold after one more. A key that was pressed leaves nothing that holds. */
export function withTuning(tuned: readonly TuningRecord[], one: TuningRecord): readonly TuningRecord[] {
  if (one.kind === 'ctrlAltDel') return tuned;
  return [...tuned.filter((earlier) => !replaces(one, earlier)), one];
}
