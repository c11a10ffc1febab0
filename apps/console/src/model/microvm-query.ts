import type { Microvm, MicrovmStateName } from '#protocol';
import { ATTENTION, MICROVM_STATE_NAMES } from './microvm-states';
import { startLatency } from './start-phases';

export const SORT_KEYS = ['state', 'name', 'id', 'image', 'host', 'vcpus', 'memory', 'age', 'start'] as const;
export type SortKey = (typeof SORT_KEYS)[number];

/** What of the fleet is shown and in which order; lives in the address of the page. */
export interface MicrovmQuery {
  /** Empty: every living state. */
  states: readonly MicrovmStateName[];
  host: string | null;
  /** Words that must all occur: in name, id, image, host, tenant, reason, `label` or `label=value`. */
  text: string;
  sort: SortKey;
  descending: boolean;
}

export const EVERYTHING: MicrovmQuery = { states: [], host: null, text: '', sort: 'age', descending: false };

/** True when nothing is hidden. */
export function showsAll({ states, host, text }: MicrovmQuery): boolean {
  return states.length === 0 && host === null && text.trim() === '';
}

export function queryToSearch(query: MicrovmQuery): URLSearchParams {
  const search = new URLSearchParams();
  if (query.states.length > 0) search.set('state', query.states.join(','));
  if (query.host !== null) search.set('host', query.host);
  if (query.text !== '') search.set('q', query.text);
  if (query.sort !== EVERYTHING.sort || query.descending)
    search.set('sort', `${query.descending ? '-' : ''}${query.sort}`);
  return search;
}

/** Never fails: what it does not understand is left out. */
export function queryFromSearch(search: URLSearchParams): MicrovmQuery {
  const asked = (search.get('state') ?? '').split(',');
  const sort = search.get('sort') ?? '';
  const key = sort.replace(/^-/, '');
  const known = (SORT_KEYS as readonly string[]).includes(key);
  return {
    states: MICROVM_STATE_NAMES.filter((state) => asked.includes(state)),
    host: search.get('host') || null,
    text: search.get('q') ?? '',
    sort: known ? (key as SortKey) : EVERYTHING.sort,
    descending: known && sort.startsWith('-'),
  };
}

const haystacks = new WeakMap<Microvm, string>();

/** Everything of a microVM that text can be searched in. Views are replaced, not changed, so it is made once for each. */
function haystack(microvm: Microvm): string {
  let text = haystacks.get(microvm);
  if (text === undefined) {
    const labels = Object.entries(microvm.labels).map(([key, value]) => `${key}=${value}`);
    text = [microvm.name, microvm.id, microvm.image, microvm.hostId, microvm.tenant, microvm.reason, ...labels]
      .join('\n')
      .toLowerCase();
    haystacks.set(microvm, text);
  }
  return text;
}

type Order = (a: Microvm, b: Microvm) => number;
const byText =
  (of: (microvm: Microvm) => string): Order =>
  (a, b) => {
    const [x, y] = [of(a), of(b)];
    return x < y ? -1 : x > y ? 1 : 0;
  };

/** Ascending. Missing values come last either way, see {@link queryMicrovms}. */
const ORDERS: Record<SortKey, Order> = {
  state: (a, b) => (ATTENTION[a.state] ?? -1) - (ATTENTION[b.state] ?? -1),
  name: byText((microvm) => (microvm.name ?? '').toLowerCase()),
  id: byText((microvm) => microvm.id),
  image: byText((microvm) => microvm.image),
  host: byText((microvm) => microvm.hostId ?? ''),
  vcpus: (a, b) => a.vcpus - b.vcpus,
  memory: (a, b) => a.memoryMiB - b.memoryMiB,
  // Youngest first: a small age is a late id.
  age: byText((microvm) => microvm.id),
  start: (a, b) => (startLatency(a.timings) ?? 0) - (startLatency(b.timings) ?? 0),
};
ORDERS.age = (a, b) => ORDERS.id(b, a);

const MISSING: Partial<Record<SortKey, (microvm: Microvm) => boolean>> = {
  name: (microvm) => microvm.name === null,
  host: (microvm) => microvm.hostId === null,
  start: (microvm) => startLatency(microvm.timings) === null,
};

/** Those of the fleet that the query shows, in its order; equals are ordered by id, so that rows never jump. */
export function queryMicrovms(microvms: Iterable<Microvm>, query: MicrovmQuery): Microvm[] {
  const words = query.text.toLowerCase().split(/\s+/).filter(Boolean);
  const states = query.states.length > 0 ? new Set<string>(query.states) : null;
  const found: Microvm[] = [];
  for (const microvm of microvms) {
    if (states ? !states.has(microvm.state) : microvm.state === 'deleted') continue;
    if (query.host !== null && microvm.hostId !== query.host) continue;
    if (words.length > 0) {
      const text = haystack(microvm);
      if (!words.every((word) => text.includes(word))) continue;
    }
    found.push(microvm);
  }
  const order = ORDERS[query.sort];
  const missing = MISSING[query.sort];
  const sign = query.descending ? -1 : 1;
  return found.sort((a, b) => {
    if (missing) {
      const difference = Number(missing(a)) - Number(missing(b));
      if (difference !== 0) return difference;
    }
    return sign * order(a, b) || ORDERS.id(a, b);
  });
}

export function countStates(microvms: Iterable<Microvm>): Map<MicrovmStateName, number> {
  const counts = new Map<MicrovmStateName, number>();
  for (const { state } of microvms) counts.set(state, (counts.get(state) ?? 0) + 1);
  return counts;
}
