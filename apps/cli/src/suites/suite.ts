import type { Tally } from './tally';

export interface SuiteOutcome {
  tally: Tally;
  /** Files of tests with how long they took, in ms. */
  files: { name: string; tally: Tally; ms: number }[];
  /** What else there is to say, e.g. why it was skipped. */
  notes: string[];
}

export interface Suite {
  name: string;
  summary: string;
  run: () => Promise<SuiteOutcome>;
}
