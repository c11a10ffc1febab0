import { FILTERS, filtersFor, passesAll, type Filter, type Occasion } from './filters';
import type { Choice } from './choose-host';
import type { HostRow } from './host-table';
import type { Score } from './scores';

export interface HostVerdict {
  hostId: string;
  verdict: 'filtered' | 'eligible' | 'scored' | 'chosen';
  filters: { name: string; passed: boolean; detail: string }[];
  scores: Score[];
  total: number | null;
}

export interface NoHost {
  /** The filter that most hosts fail; `none` where there are no hosts. */
  filter: string;
  /** Which filters failed how often, how one host fails at the first of them, and what to do. */
  reason: string;
  /** No host would take it however long it waited. */
  hopeless: boolean;
}

/** Why no host passes. */
export function explainNone(occasion: Occasion): NoHost {
  const { rows } = occasion.table;
  if (rows.length === 0) return { filter: 'none', reason: 'no host has registered', hopeless: false };
  // On a full fleet every decision comes here, so it makes no garbage either.
  const filters = filtersFor(occasion.demand);
  const counts = new Uint32Array(filters.length);
  let hopeless = 0;
  for (const host of rows) {
    let lasting = false;
    for (let i = 0; i < filters.length; i++) {
      const filter = filters[i]!;
      if (filter.passes(host, occasion)) continue;
      counts[i]!++;
      lasting ||= filter.lasting === true;
    }
    if (lasting) hopeless++;
  }
  const failed = filters
    .map((filter, i) => ({ filter, count: counts[i]! }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count || Number(b.filter.lasting ?? false) - Number(a.filter.lasting ?? false));
  const most = failed[0]!.filter;
  const example = rows.find((host) => !most.passes(host, occasion))!;
  const reason =
    `none of ${rows.length} hosts passes; failed filters: ` +
    failed.map(({ filter, count }) => `${filter.name} (${count})`).join(', ') +
    `; ${example.hostId}: ${most.detail(example, occasion)}` +
    (most.remedy === undefined ? '' : `; ${most.remedy}`);
  return { filter: most.name, reason, hopeless: hopeless === rows.length };
}

/** Why a host was chosen, or none, in a sentence. */
export function reasonOf(occasion: Occasion, { hostId, compared }: Choice): string {
  if (hostId === null) return explainNone(occasion).reason;
  const { rows } = occasion.table;
  const filters = filtersFor(occasion.demand);
  const eligible = rows.reduce((count, host) => count + (passesAll(host, occasion, filters) ? 1 : 0), 0);
  return `best of ${compared.length} sampled from ${eligible} eligible of ${rows.length} hosts`;
}

/** The verdict of every filter on one host, and its scores where it was compared. */
export function verdictOn(host: HostRow, occasion: Occasion, choice: Choice): HostVerdict {
  const { hostId } = host;
  const filters = FILTERS.map((filter) => resultOf(filter, host, occasion));
  const scored = choice.compared.find((one) => one.hostId === hostId);
  const passed = filters.every((filter) => filter.passed);
  return {
    hostId,
    verdict: hostId === choice.hostId ? 'chosen' : scored ? 'scored' : passed ? 'eligible' : 'filtered',
    filters,
    scores: scored?.scores ?? [],
    total: scored?.total ?? null,
  };
}

function resultOf(filter: Filter, host: HostRow, occasion: Occasion) {
  const { name } = filter;
  if (filter.concerns?.(occasion.demand) === false) return { name, passed: true, detail: 'not asked' };
  return { name, passed: filter.passes(host, occasion), detail: filter.detail(host, occasion) };
}
