import type { Failure } from './failure';
import { NOTHING, sum, type Tally } from './tally';

export interface SuiteOutcome {
  tally: Tally;
  /** Files of tests with how long they took, in ms. */
  files: { name: string; tally: Tally; ms: number }[];
  /** One for each test that the tally counts as failed. */
  failures: Failure[];
  /** What else there is to say, e.g. why it was skipped. */
  notes: string[];
}

export interface Suite {
  name: string;
  summary: string;
  /** One process with one thread: neighbours of this kind run side by side. */
  singleThreaded?: true;
  /** Whether it runs only when named: it repeats what the others have shown. */
  onRequest?: boolean;
  run: () => Promise<SuiteOutcome>;
}

/** Of a suite that is one test, and of one that did not come to its tests. */
export function failed(test: string, message: string): SuiteOutcome {
  return { tally: { ...NOTHING, failed: 1 }, files: [], failures: [{ test, message }], notes: [] };
}

export function passed(): SuiteOutcome {
  return { tally: { ...NOTHING, passed: 1 }, files: [], failures: [], notes: [] };
}

export function skipped(reason: string, tests = 1): SuiteOutcome {
  return { tally: { ...NOTHING, skipped: tests }, files: [], failures: [], notes: [`skipped: ${reason}`] };
}

export function together(...outcomes: readonly SuiteOutcome[]): SuiteOutcome {
  return {
    tally: sum(outcomes.map(({ tally }) => tally)),
    files: outcomes.flatMap(({ files }) => files),
    failures: outcomes.flatMap(({ failures }) => failures),
    notes: outcomes.flatMap(({ notes }) => notes),
  };
}
