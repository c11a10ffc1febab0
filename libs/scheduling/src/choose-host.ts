import type { HostTable } from './host-table';
import { filtersFor, passesAll, type Occasion } from './filters';
import { scoreHost, totalScore, type Score } from './scores';
import { seededNumbers } from './seeded-numbers';

/** Changes whenever the same table, demand and seed may give another choice or explanation than before. */
export const SCHEDULER_VERSION = 3;

/** How many of the hosts that pass are compared. Best of two random ones stays good on stale data, best of all herds. */
export const SAMPLE = 2;
/** The same for who asks to be spread: exact on small fleets, and on large ones two of a group rarely meet anyway. */
export const SPREAD_SAMPLE = 8;

export interface Compared {
  hostId: string;
  scores: Score[];
  total: number;
}

export interface Choice {
  /** Null: no host passes. */
  hostId: string | null;
  /** Those that were sampled, in the order of drawing. */
  compared: Compared[];
}

/**
 * Filters, samples and takes the best. Hosts are drawn in random order until enough of them have passed, which gives the same
 * as to filter all and to sample then, without looking at all. For a clone it is done
 * twice, among the hosts that hold its template and among the others. `seed` is all the chance there is.
 */
export function chooseHost(occasion: Occasion, seed: number): Choice {
  const { table, demand } = occasion;
  const filters = filtersFor(demand);
  const random = seededNumbers(seed);
  const drawing = table.drawing();
  const wanted = demand.spread.length > 0 ? SPREAD_SAMPLE : SAMPLE;
  const compared: Compared[] = [];
  let best: Compared | undefined;
  // Draws from what is there before `end`, down to `begin`.
  const sample = (begin: number, end: number, most: number): void => {
    for (let left = end; left > begin && compared.length < most; left--) {
      const pick = begin + Math.floor(random() * (left - begin));
      const host = table.rows[drawing[pick]!]!;
      drawing[pick] = drawing[left - 1]!;
      if (!passesAll(host, occasion, filters)) continue;
      const scores = scoreHost(host, demand);
      const one = { hostId: host.hostId, scores, total: totalScore(scores) };
      compared.push(one);
      if (!best || one.total > best.total) best = one;
    }
  };
  // Of many hosts few hold a template: the others would hardly ever meet them.
  const holders = demand.template ? putFirst(table, drawing, demand.template.hosts) : 0;
  sample(0, holders, wanted);
  sample(holders, drawing.length, compared.length + wanted);
  return { hostId: best?.hostId ?? null, compared };
}

/** Moves these hosts to the front of the drawing; gives how many there are. */
function putFirst(table: HostTable, drawing: Uint32Array, hostIds: readonly string[]): number {
  let count = 0;
  for (const hostId of hostIds) {
    const index = table.indexOf(hostId);
    if (index === undefined) continue;
    const at = drawing.indexOf(index);
    drawing[at] = drawing[count]!;
    drawing[count++] = index;
  }
  return count;
}
