import type { HistoryEntry, MicrovmStateName } from '#protocol';
import { clock } from './format';

export interface Stay {
  /** How often it entered the state. */
  times: number;
  /** How long it was there in total, ms; of the current state up to `until`. */
  totalMs: number;
  current: boolean;
}

/** Where a life has been and for how long, from its history up to the instant `until`. */
export function staysOf(entries: readonly HistoryEntry[], until: number): Map<MicrovmStateName, Stay> {
  const stays = new Map<MicrovmStateName, Stay>();
  entries.forEach((entry, index) => {
    const next = entries[index + 1];
    // Latencies have fractions of a millisecond, times have not.
    const ms = next?.latencyMs ?? Math.max(0, (next ? Date.parse(next.at) : until) - Date.parse(entry.at));
    // Births pass through `requested` within one record.
    if (entry.from === null && entry.to !== 'requested')
      stays.set('requested', { times: 1, totalMs: 0, current: false });
    const stay = stays.get(entry.to) ?? { times: 0, totalMs: 0, current: false };
    stays.set(entry.to, {
      times: stay.times + (entry.from === entry.to ? 0 : 1),
      totalMs: stay.totalMs + ms,
      current: next === undefined,
    });
  });
  return stays;
}

/** The last entry at or before an instant; -1 when it was not born yet. Entries are in order of time. */
export function entryAt(entries: readonly HistoryEntry[], at: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (Date.parse(entries[middle]!.at) <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * The instants of a history that can be told apart, each with its last entry. Entries carry whole milliseconds while the
 * history keeps fractions, so each instant is the very end of its millisecond: asking for it includes all that happened in it.
 */
export function distinctInstants(entries: readonly HistoryEntry[]): { at: number; last: number }[] {
  const instants: { at: number; last: number }[] = [];
  entries.forEach((entry, index) => {
    const at = Date.parse(entry.at) + 0.999;
    const before = instants.at(-1);
    if (before?.at === at) before.last = index;
    else instants.push({ at, last: index });
  });
  return instants;
}

/** Of use to programs only; the whole event is a click away. */
const HIDDEN = ['type', 'specHash', 'receiptId'];

/** What an event holds beside its type, in one line; long values are cut. */
export function eventSummary(event: { type: string; [key: string]: unknown }): string {
  const parts: string[] = [];
  for (const [key, value] of Object.entries(event)) {
    if (HIDDEN.includes(key) || value === undefined || value === null || typeof value === 'object') continue;
    const text = typeof value === 'number' && key.endsWith('At') ? clock(value) : String(value);
    parts.push(`${key} ${text.length > 80 ? `${text.slice(0, 79)}…` : text}`);
  }
  const { exit, spec } = event;
  if (typeof spec === 'object' && spec !== null && 'image' in spec && 'memoryMiB' in spec) {
    parts.unshift(`${String(spec.image)}, ${String(spec.memoryMiB)} MiB`);
  }
  if (typeof exit === 'object' && exit !== null && 'reason' in exit) parts.push(`exit ${String(exit.reason)}`);
  return parts.join(', ');
}
