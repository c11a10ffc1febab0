import { Pacer } from '#concurrency';
import type { Suite, SuiteOutcome } from './suite';

/** Patient work at a time: what each of it does, it does with one thread or as many as there are processors. */
const PATIENT_AT_ONCE = 2;

export interface SuiteRun {
  name: string;
  /** How long it took, without what was prepared for it. */
  ms: number;
  outcome: SuiteOutcome;
}

/**
 * Runs suites one after the other, and beside them what is patient. Gives their outcomes in the order of the suites; rejects when one of
 * them does. `begun` is told of each.
 */
export async function runSuites(suites: readonly Suite[], begun: (suite: Suite) => void): Promise<SuiteRun[]> {
  const pacer = new Pacer(PATIENT_AT_ONCE);
  const patient = new Map<Suite, Promise<SuiteRun>>();
  const prepared = new Map<Suite, Promise<SuiteOutcome | undefined>>();
  const alone = async (): Promise<void> => void (await Promise.all([...patient.values(), ...prepared.values()]));
  const run = async (suite: Suite): Promise<SuiteRun> => {
    begun(suite);
    const startedMs = performance.now();
    const outcome = await suite.run(alone);
    return { name: suite.name, ms: performance.now() - startedMs, outcome };
  };
  for (const suite of suites) {
    if (suite.patient)
      patient.set(
        suite,
        pacer.run(() => run(suite)),
      );
    else if (suite.prepare) prepared.set(suite, pacer.run(suite.prepare));
  }
  alone().catch(() => undefined); // told in its turn
  const done = new Map<Suite, SuiteRun>();
  for (const suite of suites.filter((one) => !one.patient)) {
    const failure = await prepared.get(suite);
    done.set(suite, failure ? { name: suite.name, ms: 0, outcome: failure } : await run(suite));
  }
  const runs: SuiteRun[] = [];
  for (const suite of suites) runs.push(done.get(suite) ?? (await patient.get(suite)!));
  return runs;
}
