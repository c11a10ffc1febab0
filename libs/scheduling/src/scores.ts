import type { TemplatePlaces } from '#protocol';
import type { Demand } from './demand';
import type { HostRow } from './host-table';

export interface Score {
  name: string;
  /** 0..1, higher is better. */
  value: number;
  weight: number;
}

/**
 * How good a host would be: what is left of it after this placement as shares of the whole, how calm it is, whether the image is
 * there, and how few of the same tenant are. Who asks to be spread cares for that more than for all the rest.
 */
export function scoreHost(host: HostRow, demand: Demand): Score[] {
  const { free, capacity, pressurePercent, cachedImages, occupants, groups } = host;
  const there = demand.imageDigest === null || cachedImages.includes(demand.imageDigest);
  const scores: Score[] = [
    { name: 'memoryLeft', value: share(free.memoryMiB - demand.memoryMiB, capacity.memoryMiB), weight: 0.4 },
    { name: 'vcpusLeft', value: share(free.vcpus - demand.vcpus, capacity.vcpus), weight: 0.2 },
    { name: 'calm', value: share(100 - pressurePercent, 100), weight: 0.15 },
    { name: 'imageThere', value: there ? 1 : 0, weight: 0.15 },
    { name: 'tenantSpread', value: apart(occupants.countOf(demand.tenant)), weight: 0.1 },
  ];
  if (demand.template)
    scores.push({ name: 'templateThere', value: nearness(host, demand.template), weight: TEMPLATE_WEIGHT });
  if (demand.spread.length > 0) {
    const together = demand.spread.reduce((sum, group) => sum + (groups.get(group) ?? 0), 0);
    scores.push({ name: 'groupSpread', value: apart(together), weight: SPREAD_WEIGHT });
  }
  return scores;
}

/** One step between small groups (1/2 and 1/3) outweighs all other scores together. */
const SPREAD_WEIGHT = 10;

/** A template that takes long to fetch outweighs the half of everything else: its hosts fill up first, but are not overrun. */
const TEMPLATE_WEIGHT = 0.5;
/** What a host fetches of a template, about: what the image service relays to one. */
const FETCH_BYTES_PER_S = 50e6;

/** 1 where the template is; elsewhere less, the longer it takes to fetch. */
function nearness({ hostId }: HostRow, { hosts, fetchBytes = Infinity }: TemplatePlaces): number {
  return hosts.includes(hostId) ? 1 : round(1 / (1 + fetchBytes / FETCH_BYTES_PER_S));
}

/** Weighted sum of the scores, rounded to 4 digits so that a receipt can be checked by hand. */
export function totalScore(scores: readonly Score[]): number {
  return round(scores.reduce((sum, { value, weight }) => sum + value * weight, 0));
}

function apart(together: number): number {
  return round(1 / (1 + together));
}

function share(part: number, whole: number): number {
  return whole <= 0 ? 0 : round(Math.min(1, Math.max(0, part / whole)));
}

function round(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
