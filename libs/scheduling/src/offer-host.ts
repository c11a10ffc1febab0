import type { Demand } from './demand';
import type { FairQueue } from './fair-queue';
import { passesAll, type Occasion } from './filters';

/** Who does not ask again within this time has gone away, though nobody said so, and its place in the line is given up, ms. */
export const ABANDONED_MS = 10_000;

/**
 * There is news of a host, so it may take more than before: of those that wait, whose turn it is and who fits there leaves the line
 * and is placed. Everybody else has been turned down since anything else grew.
 */
export function offerHost<T extends { demand: Demand }>(
  lines: FairQueue<T>,
  hostId: string,
  occasionOf: (demand: Demand) => Occasion,
  place: (item: T, key: string) => void,
): void {
  if (lines.size === 0) return;
  lines.serve((item, key) => {
    const occasion = occasionOf(item.demand);
    const host = occasion.table.rows[occasion.table.indexOf(hostId) ?? -1];
    if (!host || !passesAll(host, occasion)) return false;
    place(item, key);
    return true;
  });
}

/**
 * Somebody has left the line of this tenant without a place: whoever is first in it now may fit where that one did not, so it is not kept
 * waiting for news of a host.
 */
export function offerTurn<T extends { demand: Demand }>(
  lines: FairQueue<T>,
  tenant: string,
  occasionOf: (demand: Demand) => Occasion,
  place: (item: T, key: string) => void,
): void {
  lines.serveTenant(tenant, (item, key) => {
    const occasion = occasionOf(item.demand);
    if (!occasion.table.rows.some((host) => passesAll(host, occasion))) return false;
    place(item, key);
    return true;
  });
}
