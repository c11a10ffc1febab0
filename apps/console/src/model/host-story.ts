import type { GuardAct, HostEvent, HostHistoryEntry } from '#protocol';
import { duration } from './format';

export interface HostLine {
  at: number;
  text: string;
  by: string;
}

/** The history of a host as lines, the latest first: one for each act of its guards, one for each other event. */
export function hostLines(entries: readonly HostHistoryEntry[]): HostLine[] {
  return entries
    .flatMap(({ at, cause, events }) =>
      events.flatMap((event) => told(event, Date.parse(at)).map((line) => ({ ...line, by: cause.by }))),
    )
    .reverse();
}

function told(event: HostEvent, at: number): { at: number; text: string }[] {
  switch (event.type) {
    case 'guardsActed':
      return [
        ...event.acts.map((act) => ({ at: act.at, text: toldAct(act) })),
        ...(event.omitted > 0 ? [{ at, text: `${event.omitted} more acts of guards` }] : []),
      ];
    case 'classAssigned':
      return [
        { at, text: event.hostClass === null ? 'class: as its agent says' : `put into class ${event.hostClass}` },
      ];
    case 'policyApplied':
      return [{ at, text: `goes by the policy of class ${event.policy.hostClass}` }];
    case 'drainProgressed':
      return [];
    default:
      return [{ at, text: event.type.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`) }];
  }
}

function toldAct(act: GuardAct): string {
  if (act.act === 'poolsGivenUp') return `clones waiting in pools given up: ${act.clones}; ${act.reason}`;
  if (act.act === 'reclaim') return `${act.step} ${act.microvmId}: ${act.reason}`;
  return act.open
    ? `admission of ${act.class} opens after ${duration(act.afterMs)}`
    : `admission of ${act.class} shuts: ${act.reason}`;
}
