import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { failed, skipped, type SuiteOutcome } from '../suites/suite';
import { NOTHING } from '../suites/tally';
import { buildFuzzers, fuzzBuildFolder, fuzzTargets, whyNoFuzzers } from './fuzz-build';
import { runFuzzers, toldOutcome } from './fuzz-run';

const SECONDS_EACH = 3;

/** Every fuzzer for a few seconds, from the committed inputs alone. One test for each. */
export async function fuzzSuite(root: string): Promise<SuiteOutcome> {
  const targets = fuzzTargets(root);
  const reason = whyNoFuzzers();
  if (reason !== undefined) return skipped(reason, targets.length);
  const built = await buildFuzzers(root);
  if (built !== 0) return failed('the build of the fuzzers', `${built}`);
  const scratch = mkdtempSync(join(tmpdir(), 'volley-fuzz-'));
  try {
    const logs = join(fuzzBuildFolder(root), 'logs', 'suite');
    const orders = targets.map((target) => ({
      root,
      target,
      seconds: SECONDS_EACH,
      corpus: join(scratch, target),
      logs,
    }));
    const outcomes = await runFuzzers(orders, Math.min(2, cpus().length), (outcome) => {
      process.stdout.write(`${toldOutcome(outcome)}\n`);
    });
    const found = outcomes.filter(({ finding }) => finding !== undefined);
    return {
      tally: { ...NOTHING, passed: outcomes.length - found.length, failed: found.length },
      files: outcomes.map(({ target, ms, finding }) => ({
        name: target,
        ms,
        tally: { ...NOTHING, passed: finding ? 0 : 1, failed: finding ? 1 : 0 },
      })),
      failures: found.map((outcome) => ({ test: outcome.target, message: toldOutcome(outcome) })),
      notes: [],
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
