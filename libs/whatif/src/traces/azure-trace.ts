import type { MicrovmUsage, UsageRecord } from '#protocol';
import type { Claim } from '../load/claim';
import { isSampled, traceClaim } from './trace-claim';
import { BadRow, newTally, numberIn, readRow, textIn } from './trace-lines';

/** Readings are of five minutes. */
const READING_MS = 300_000;

/**
 * The traces of AzurePublicDataset, V1 and V2, as they are published: CSV without a header. A row of `vmtable` is VM id, subscription id, deployment
 * id, created, deleted (seconds), highest, mean and 95th percentile of highest CPU (percent), category, cores, memory (GiB); V2 gives cores and memory
 * as buckets, of which the largest has no upper bound (`>24`) and is taken at its lower one. A row of CPU readings is seconds, VM id, lowest,
 * highest and mean CPU (percent). A subscription is a tenant.
 */
export class AzureTrace {
  readonly table = newTally();
  readonly readings = newTally();
  readonly #claims = new Map<string, Claim>();
  readonly #usage = new Map<number, MicrovmUsage[]>();
  #end = 0;

  /** `every`: only one VM in so many is taken. */
  constructor(private readonly every = 1) {}

  /** Takes a line of `vmtable`. */
  takeVm(line: string): void {
    readRow(this.table, line, (fields) => {
      const id = textIn(fields, 0, 'VM id');
      const tenant = textIn(fields, 1, 'subscription id');
      const askedAt = 1_000 * numberIn(fields, 3, 'created');
      const deletedAt = 1_000 * numberIn(fields, 4, 'deleted');
      const vcpus = bucketIn(fields, 9, 'cores');
      const memoryMiB = Math.round(1_024 * bucketIn(fields, 10, 'memory'));
      if (deletedAt < askedAt) throw new BadRow('it was deleted before it was created');
      this.#end = Math.max(this.#end, deletedAt);
      if (!isSampled(id, this.every)) return;
      this.#claims.set(id, traceClaim({ id, tenant, vcpus, memoryMiB, askedAt, ranForMs: deletedAt - askedAt }));
    });
  }

  /** Takes a line of CPU readings; after all of `vmtable`. */
  takeReading(line: string): void {
    readRow(this.readings, line, (fields) => {
      const at = 1_000 * numberIn(fields, 0, 'time');
      const id = textIn(fields, 1, 'VM id');
      const highest = numberIn(fields, 3, 'highest CPU') / 100;
      const mean = numberIn(fields, 4, 'mean CPU') / 100;
      const claim = this.#claims.get(id);
      if (!claim) return;
      const { vcpus, memoryMiB } = claim.demand;
      // What of its memory a VM uses is not published: it counts in full.
      const usage: MicrovmUsage = [
        id,
        1,
        Math.round(1_000 * mean * vcpus),
        Math.round(1_000 * highest * vcpus),
        0,
        memoryMiB,
      ];
      const interval = Math.floor(at / READING_MS);
      const together = this.#usage.get(interval);
      if (together) together.push(usage);
      else this.#usage.set(interval, [usage]);
    });
  }

  /** In ms since the trace begins. Who was there to the last instant of it has not ended there. */
  claims(): { claims: Claim[]; usage: UsageRecord[]; end: number } {
    const end = this.#end;
    const claims = [...this.#claims.values()].map((claim): Claim => {
      const { ending, askedAt } = claim;
      const isLast = ending.kind === 'after' && askedAt + ending.ms >= end;
      return isLast ? { ...claim, ending: { kind: 'open' } } : claim;
    });
    const usage = [...this.#usage]
      .sort(([a], [b]) => a - b)
      .map(([interval, microvms]): UsageRecord => ({
        ...{ version: 1, hostId: 'trace', whole: true, microvms },
        ...{ from: interval * READING_MS, to: (interval + 1) * READING_MS },
      }));
    return { claims, usage, end };
  }
}

/** A number, or the bucket above one. */
function bucketIn(fields: readonly string[], at: number, name: string): number {
  const text = fields[at]?.trim() ?? '';
  return numberIn([text.replace(/^>\s*/, '')], 0, name, Number.MIN_VALUE);
}
