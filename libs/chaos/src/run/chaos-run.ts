import type { ChaosFleet } from '../fleet/chaos-fleet';
import { sleep, until } from '../fleet/wait';
import { checkHistories } from '../invariants/check-histories';
import { lastSequence, readHistories } from '../invariants/read-histories';
import type { RunWatch } from '../invariants/run-watch';
import type { Violation } from '../invariants/violation';
import type { PlannedFault, RunPlan } from './run-plan';
import { settle, SETTLE_MS } from './settle';
import { Workload } from './workload';

export interface RunReport {
  seed: number;
  /** What happened, in order; with what was left out, and why. */
  faults: string[];
  violations: Violation[];
  microvms: number;
  records: number;
  /** How many there were in each state in the end. */
  endings: Record<string, number>;
  /** From the end of the last fault until nothing was wrong, ms. */
  settledMs: number | undefined;
  tookMs: number;
}

/** The churn goes on for at least this long, ms. */
const CHURN_MS = 2_000;

/** One seeded run on a fleet that is up: load, faults, settling, checks, and everything deleted again. */
export async function chaosRun(fleet: ChaosFleet, watch: RunWatch, plan: RunPlan): Promise<RunReport> {
  const startedMs = performance.now();
  const nats = await fleet.nats();
  const since = await lastSequence(nats, 'MICROVM_HISTORY');
  const watched = watch.violations.length;
  const workload = new Workload(fleet, plan);
  await workload.start();
  const [faults] = await Promise.all([strikeAll(fleet, plan.faults), sleep(CHURN_MS)]);
  await workload.stop();

  const accepted = [...workload.accepted.keys()];
  const telling = accepted.filter((id) => workload.accepted.get(id)!.once);
  const verdict = await settle(fleet, { accepted, telling, since });
  const violations = [...verdict.violations, ...(await cleanUp(fleet, watch, accepted, since))];
  violations.push(...watch.violations.slice(watched));
  const endings: Record<string, number> = {};
  for (const { state } of verdict.endings) endings[state] = (endings[state] ?? 0) + 1;
  return {
    seed: plan.seed,
    faults,
    violations,
    microvms: accepted.length,
    records: verdict.records.length,
    endings,
    settledMs: verdict.settledMs === undefined ? undefined : Math.round(verdict.settledMs),
    tookMs: Math.round(performance.now() - startedMs),
  };
}

/** Resolves with what became of each when the last is over. */
function strikeAll(fleet: ChaosFleet, faults: readonly PlannedFault[]): Promise<string[]> {
  return Promise.all(
    faults.map(async ({ atMs, fault }) => {
      await sleep(atMs);
      const leftOut = await fault.strike(fleet).catch((error: unknown) => String(error));
      return `${fault.name}${leftOut === undefined ? '' : ` (not done: ${leftOut})`}`;
    }),
  );
}

/** Deletes everything, which is a part of the run like any other: nothing may be left, and nothing may come back. */
async function cleanUp(
  fleet: ChaosFleet,
  watch: RunWatch,
  accepted: readonly string[],
  since: number,
): Promise<Violation[]> {
  try {
    await Promise.all(
      accepted.map((id) =>
        until(
          `the delete of ${id} is taken`,
          async () => [200, 202, 204, 404].includes((await fleet.rest('DELETE', `/v1/microvms/${id}`)).status),
          SETTLE_MS,
        ),
      ),
    );
    await until(
      'all are deleted',
      async () => {
        const { endings } = checkHistories(await readHistories(await fleet.nats(), 'MICROVM_HISTORY', since + 1));
        return endings.every(({ state }) => state === 'deleted');
      },
      SETTLE_MS,
    );
  } catch (error) {
    return [{ rule: 'L1', subject: 'fleet', detail: String(error) }];
  }
  watch.deleted(accepted);
  const late = checkHistories(await readHistories(await fleet.nats(), 'MICROVM_HISTORY', since + 1));
  return late.violations;
}
