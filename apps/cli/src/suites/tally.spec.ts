import { closingLine, jestTally, junitTally, sum, type JestReport } from './tally';

it('sums all runners into one plain line', () => {
  const all = sum([
    { passed: 1, failed: 0, skipped: 2 },
    { passed: 10, failed: 3, skipped: 0 },
  ]);
  expect(closingLine(all)).toBe('11 passed, 3 failed, 2 skipped');
});

it('counts a suite that could not be loaded as a failure', () => {
  const report: JestReport = {
    numPassedTests: 4,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 1,
    numRuntimeErrorTestSuites: 1,
    testResults: [],
  };
  expect(jestTally(report)).toEqual({ passed: 4, failed: 2, skipped: 3 });
});

it('reads what ctest writes', () => {
  const xml =
    '<?xml version="1.0"?>\n<testsuite name="Linux" tests="12" failures="1" disabled="0" skipped="2" hostname="">\n<testcase name="a" status="run"/></testsuite>';
  expect(junitTally(xml)).toEqual({ passed: 9, failed: 1, skipped: 2 });
  expect(junitTally('')).toBeUndefined();
});
