import type { Candidate, Demand } from './candidate';
import { applyFilters, type FilterResult } from './filters';
import { scoreHost, totalScore, type Score } from './scores';

export interface HostVerdict {
  hostId: string;
  verdict: 'filtered' | 'eligible' | 'scored' | 'chosen';
  filters: FilterResult[];
  scores: Score[];
  total: number | null;
}

export interface Choice {
  hostId: string | null;
  reason: string;
  hosts: HostVerdict[];
}

/** How many of the hosts that pass are compared. Best of two random ones stays good on stale data, best of all herds. */
export const SAMPLE = 2;

/** What the operator can do where most hosts fail at one filter. */
const REMEDIES: Readonly<Record<string, string>> = {
  state: 'volley hosts says why they are not ready',
  kvm: 'volley doctor says there what its KVM lacks',
  image: 'stock Linux images need a host with hardware KVM, or volley up --emulated',
  network: 'volley hosts --json says what its network lacks',
  report: 'the log of its agent says why it does not report',
  slots: 'delete microVMs, raise VOLLEY_SLOTS or add a host',
  vcpus: 'delete microVMs, ask for fewer vCPUs or add a host',
  memory: 'delete microVMs, ask for less memory or add a host',
};

/**
 * Filters all hosts, samples two of those that pass and takes the one with the higher score. `random` gives numbers in
 * [0, 1); with the same candidates and numbers the choice is the same.
 */
export function chooseHost(candidates: readonly Candidate[], demand: Demand, random: () => number): Choice {
  const hosts: HostVerdict[] = candidates.map((candidate) => {
    const filters = applyFilters(candidate, demand);
    const passed = filters.every((filter) => filter.passed);
    return { hostId: candidate.hostId, verdict: passed ? 'eligible' : 'filtered', filters, scores: [], total: null };
  });
  const eligible = hosts.flatMap((host, index) => (host.verdict === 'eligible' ? [index] : []));
  if (eligible.length === 0) return { hostId: null, reason: whyNone(hosts), hosts };

  let best: HostVerdict | undefined;
  for (const index of sample(eligible, SAMPLE, random)) {
    const host = hosts[index]!;
    host.scores = scoreHost(candidates[index]!, demand);
    host.total = totalScore(host.scores);
    host.verdict = 'scored';
    if (!best || host.total > best.total!) best = host;
  }
  best!.verdict = 'chosen';
  const compared = Math.min(SAMPLE, eligible.length);
  return {
    hostId: best!.hostId,
    reason: `best of ${compared} sampled from ${eligible.length} eligible of ${hosts.length} hosts`,
    hosts,
  };
}

/** `count` different elements, by a partial Fisher-Yates shuffle of a copy. */
function sample<T>(from: readonly T[], count: number, random: () => number): T[] {
  const pool = [...from];
  const taken: T[] = [];
  for (let i = 0; i < count && pool.length > 0; i++) {
    const at = Math.min(pool.length - 1, Math.floor(random() * pool.length));
    taken.push(pool[at]!);
    pool[at] = pool[pool.length - 1]!;
    pool.pop();
  }
  return taken;
}

function whyNone(hosts: readonly HostVerdict[]): string {
  if (hosts.length === 0) return 'no host has registered';
  const counts = new Map<string, number>();
  for (const { filters } of hosts) {
    for (const { name, passed } of filters) if (!passed) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const byCount = [...counts].sort((a, b) => b[1] - a[1]);
  const reasons = byCount.map(([name, count]) => `${name} (${count})`).join(', ');
  const most = byCount[0]![0];
  const failed = ({ name, passed }: FilterResult): boolean => name === most && !passed;
  const one = hosts.find(({ filters }) => filters.some(failed))!;
  const remedy = REMEDIES[most];
  return (
    `none of ${hosts.length} hosts passes; failed filters: ${reasons}; ${one.hostId}: ${one.filters.find(failed)!.detail}` +
    (remedy === undefined ? '' : `; ${remedy}`)
  );
}
