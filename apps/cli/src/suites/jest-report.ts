import { relative } from 'node:path';
import type { Failure } from './failure';
import type { SuiteOutcome } from './suite';
import { sum, type Tally } from './tally';

/** What jest writes with --json, as far as it is used here. */
export interface JestReport {
  testResults: JestFile[];
}

interface JestFile {
  name: string;
  startTime: number;
  endTime: number;
  status: string;
  /** About the whole file: why it could not be loaded. */
  message: string;
  assertionResults: { status: string; ancestorTitles: string[]; title: string; failureMessages: string[] | null }[];
}

/** `ended`: the exit code of jest, or what ended it. */
export function jestOutcome(report: JestReport, ended: number | string, root: string): SuiteOutcome {
  const files = report.testResults.map((file) => ({
    name: relative(root, file.name),
    tally: tallyOf(file),
    ms: file.endTime - file.startTime,
  }));
  const failures = report.testResults.flatMap((file) => failuresOf(file, relative(root, file.name)));
  const tally = sum(files.map((file) => file.tally));
  if (ended !== 0 && failures.length === 0) {
    failures.push({ test: 'jest', message: `it ended with ${ended} although no test failed` });
    tally.failed = 1;
  }
  return { tally, files, failures, notes: [] };
}

function tallyOf(file: JestFile): Tally {
  const of = (...wanted: string[]): number =>
    file.assertionResults.filter(({ status }) => wanted.includes(status)).length;
  return {
    passed: of('passed'),
    failed: failuresOf(file, '').length,
    skipped: of('pending', 'todo', 'skipped', 'disabled'),
  };
}

/** A file that could not be loaded, or whose set-up outside any test failed, is one failure. */
function failuresOf({ status, message, assertionResults }: JestFile, name: string): Failure[] {
  const tests = assertionResults
    .filter((one) => one.status === 'failed')
    .map(({ ancestorTitles, title, failureMessages }) => ({
      test: [name, ...ancestorTitles, title].join(' › '),
      message: (failureMessages ?? []).join('\n'),
    }));
  return tests.length === 0 && status === 'failed' ? [{ test: name, message }] : tests;
}
