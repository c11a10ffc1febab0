import type { Ending } from './check-histories';
import type { Violation } from './violation';

/** What a reader is told of a microVM. */
export interface ToldView {
  id: string;
  state: string;
  hostId: string | null;
  epoch: number;
  revision: number;
}

/** S8: what readers are told is what the histories say, to the last record. */
export function checkViews(endings: readonly Ending[], views: readonly ToldView[]): Violation[] {
  const violations: Violation[] = [];
  const told = new Map(views.map((view) => [view.id, view]));
  for (const { id, state, hostId, epoch, sequence } of endings) {
    const view = told.get(id);
    const report = (what: string, said: unknown, is: unknown): void => {
      if (said !== is)
        violations.push({
          rule: 'S8',
          subject: id,
          detail: `${what} is told as ${String(said)}, but the history says ${String(is)}`,
        });
    };
    report('state', view?.state, state);
    report('host', view?.hostId, hostId);
    report('epoch', view?.epoch, epoch);
    report('revision', view?.revision, sequence);
  }
  return violations;
}
