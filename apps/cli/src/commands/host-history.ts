import type { GuardAct, HostEvent, HostHistoryEntry } from '#protocol';
import { clock } from '../output/quantities';
import { printable, table } from '../output/table';

export interface HostHistory {
  id: string;
  entries: HostHistoryEntry[];
  more: boolean;
}

/** The history of a host as lines, one for each thing that happened. */
export function hostHistoryTable({ entries, more }: HostHistory): string {
  const lines = entries.flatMap(({ at, cause, from, to, events }) =>
    events.flatMap((event) =>
      tellings(event).map((told) => ({ at: told.at ?? Date.parse(at), cause, from, to, told })),
    ),
  );
  const text = table(
    [
      { title: 'TIME', value: ({ at }) => clock(new Date(at).toISOString()) },
      { title: 'STATE', value: ({ from, to }) => (from === to ? to : `${from ?? 'new'} -> ${to}`) },
      { title: 'BY', value: ({ cause }) => (cause.by === cause.kind ? cause.by : `${cause.kind} ${cause.by}`) },
      { title: 'WHAT HAPPENED', value: ({ told }) => printable(told.text) },
    ],
    lines,
  );
  return more ? `${text}\n(there are earlier entries: --limit)` : text;
}

function tellings(event: HostEvent): { at?: number; text: string }[] {
  switch (event.type) {
    case 'guardsActed':
      return [
        ...event.acts.map((act) => ({ at: act.at, text: toldGuardAct(act) })),
        ...(event.omitted > 0 ? [{ text: `${event.omitted} more acts of guards, not kept one by one` }] : []),
      ];
    case 'classAssigned':
      return [{ text: event.hostClass === null ? 'class: as its agent says' : `put into class ${event.hostClass}` }];
    case 'policyApplied': {
      const { hostClass, settings } = event.policy;
      return [{ text: `goes by class ${hostClass}: ${settings ? settings.policy.kind : 'its own settings'}` }];
    }
    case 'registered':
      return [{ text: `registered by agent ${event.description.agentVersion}` }];
    case 'deadlinePassed':
      return [{ text: `deadline passed (${event.timer})` }];
    default:
      return [{ text: event.type }];
  }
}

/** What guards did, in one sentence for people, with the cause and the figures of that moment. */
function toldGuardAct(act: GuardAct): string {
  const { availableMiB, usableMiB } = act.reading;
  const memory = `${Math.round(availableMiB)} of ${Math.round(usableMiB)} MiB available`;
  if (act.act === 'poolsGivenUp') return `clones waiting in pools given up: ${act.clones}; ${act.reason}`;
  if (act.act === 'reclaim') {
    const size = act.mib > 0 ? `, to ${Math.round(act.mib)} MiB` : '';
    return `${act.step} ${act.microvmId}${size}: ${act.reason} (${memory})`;
  }
  if (!act.open) return `admission of ${act.class} shuts: ${act.reason} (${memory})`;
  const seconds = Math.round(act.afterMs / 1_000);
  return `admission of ${act.class} opens after ${seconds} s; it was shut for ${act.reason} (${memory})`;
}
