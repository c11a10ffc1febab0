import { basename } from 'node:path';
import { ChaosFleet } from '../fleet/chaos-fleet';
import { RunWatch } from '../invariants/run-watch';
import { SeededRandom } from '../seeded-random';
import { chaosRun, type RunReport } from './chaos-run';
import { planRun } from './run-plan';

export interface CampaignOptions {
  /** The checkout whose `volley` is started. */
  root: string;
  runs: number;
  /** Of the first run; the next ones count up from it. */
  seed: number;
  /** microVMs of each run. */
  microvms?: number;
  /** Names of faults to draw from; default: all. */
  kinds?: readonly string[];
  /** Further options of `volley up`. */
  up?: readonly string[];
  /** Once aborted no further run begins; the one under way ends as it would, since its faults mend what they hurt. */
  signal?: AbortSignal;
}

export interface CampaignRun extends RunReport {
  /** Folder of the fleet with its logs, kept when something was wrong. */
  kept?: string;
}

const MICROVMS = 16;

/**
 * Seeded runs one after another, on one fleet for as long as nothing is wrong: after a violation the next run gets a new one, and the
 * old one's folder is kept for who wants to know why.
 */
export async function* campaign({
  root,
  runs,
  seed,
  microvms = MICROVMS,
  kinds,
  up,
  signal,
}: CampaignOptions): AsyncGenerator<CampaignRun> {
  let fleet: ChaosFleet | undefined;
  let watch: RunWatch | undefined;
  try {
    for (let n = 0; n < runs && !signal?.aborted; n++) {
      // Both hosts together hold all; one of them alone does not.
      fleet ??= await ChaosFleet.up({
        root,
        slots: Math.ceil(microvms * 0.75),
        random: new SeededRandom(seed + n),
        ...(up ? { up } : {}),
      });
      if (!watch) {
        watch = new RunWatch(fleet.hosts.map(({ runDir }) => runDir));
        watch.start();
      }
      const plan = planRun(seed + n, { microvms, fleet: basename(fleet.data), ...(kinds ? { kinds } : {}) });
      const report = await chaosRun(fleet, watch, plan);
      if (report.violations.length === 0) {
        yield report;
        continue;
      }
      const hurt = fleet;
      watch.stop();
      fleet = watch = undefined;
      await hurt.down({ keep: true });
      yield { ...report, kept: hurt.data };
    }
  } finally {
    watch?.stop();
    await fleet?.down();
  }
}
