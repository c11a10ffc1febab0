import type { UsageRecord } from '#protocol';
import type { Claim } from '../load/claim';

/** What one microVM used from an instant of its stay on. */
export interface Used {
  /** ms since it got its place. */
  at: number;
  /** CPU that it would have taken had nobody else wanted any, cores. */
  wantedCores: number;
  memoryMiB: number;
}

/** The usage of one stay, in order of time; each value holds until the next. */
export type UsageSeries = readonly Used[];

/** Finds what each claim used, and of one that was not measured what a like one did. */
export class UsageSeriesOf {
  readonly #series = new Map<string, UsageSeries>();
  readonly #like = new Map<string, UsageSeries[]>();

  constructor(claims: readonly Claim[], records: readonly UsageRecord[]) {
    const claimOf = new Map<string, Claim>();
    for (const claim of claims)
      if (claim.was.kind === 'placed') claimOf.set(incarnation(claim.microvmId, claim.was.epoch), claim);
    const found = new Map<Claim, Used[]>();
    for (const { from, to, microvms } of records) {
      for (const [id, epoch, milliCores, , wait, memoryMiB] of microvms) {
        const claim = claimOf.get(incarnation(id, epoch));
        if (claim?.was.kind !== 'placed') continue;
        const series = found.get(claim) ?? [];
        found.set(claim, series);
        // What was measured in its first interval holds from its beginning.
        const at = series.length === 0 && from <= claim.was.at && claim.was.at < to ? 0 : from - claim.was.at;
        // Of the time in which it wanted a CPU it had one for (1 - wait).
        const wantedCores = milliCores / 1_000 / Math.max(0.01, 1 - wait / 1_000);
        series.push({ at: Math.max(0, at), wantedCores, memoryMiB });
      }
    }
    for (const [claim, series] of found) {
      this.#series.set(claimKey(claim), series);
      for (const key of likeness(claim)) {
        const like = this.#like.get(key);
        if (like) like.push(series);
        else this.#like.set(key, [series]);
      }
    }
  }

  /** Claims that were measured. */
  get measured(): number {
    return this.#series.size;
  }

  /** Undefined: neither it nor any other of its kind was measured. `random`: a number in [0, 1). */
  of(claim: Claim, random: () => number): UsageSeries | undefined {
    const own = this.#series.get(claimKey(claim));
    if (own) return own;
    const like = this.#like.get(likeness(claim).find((key) => this.#like.has(key)) ?? '');
    return like?.[Math.floor(random() * like.length)];
  }
}

/** What a series holds at a time of a stay. */
export function usedAt(series: UsageSeries, at: number): Used {
  let low = 0;
  let high = series.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (series[middle]!.at <= at) low = middle;
    else high = middle - 1;
  }
  return series[low]!;
}

const incarnation = (id: string, epoch: number): string => `${id}.${epoch}`;
const claimKey = ({ microvmId, round }: Claim): string => `${microvmId}.${round}`;
/** From the most to the least alike. */
const likeness = ({ demand: { tenant, vcpus, memoryMiB } }: Claim): string[] => [
  `${tenant} ${vcpus} ${memoryMiB}`,
  `* ${vcpus} ${memoryMiB}`,
];
