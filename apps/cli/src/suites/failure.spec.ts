import { recap } from './failure';
import { jestOutcome, type JestReport } from './jest-report';
import { junitOutcome } from './junit-report';

const test = (title: string, status: string, ...failureMessages: string[]) => ({
  ...{ title, status, failureMessages },
  ancestorTitles: ['images over REST'],
});
const file = (name: string, status: string, message: string, ...assertionResults: ReturnType<typeof test>[]) => ({
  ...{ name: `/volley/${name}`, status, message, assertionResults },
  ...{ startTime: 1_000, endTime: 3_000 },
});
const REPORT: JestReport = {
  testResults: [
    file(
      'apps/images.spec.ts',
      'failed',
      '',
      test('are listed', 'passed'),
      test(
        'say who is away',
        'failed',
        [
          'Error: \u001b[2mexpect(\u001b[22mreceived).toBe(expected)',
          '',
          'Expected: 503',
          'Received: 504',
          '    at Object.toBe (/volley/node_modules/expect/index.js:1:2)',
          '    at Object.<anonymous> (/volley/apps/images.spec.ts:104:29)',
          '    at processTicksAndRejections (node:internal/process/task_queues:95:5)',
        ].join('\n'),
      ),
      test('are removed', 'pending'),
    ),
    file('libs/broken.spec.ts', 'failed', "Cannot find module './gone'"),
    file('libs/good.spec.ts', 'passed', '', test('works', 'passed')),
  ],
};

it('tells every failed test of jest once more: where, its whole name, what it says, the line', () => {
  const { tally, files, failures } = jestOutcome(REPORT, 1, '/volley');
  expect(tally).toEqual({ passed: 2, failed: 2, skipped: 1 });
  expect(files[1]).toEqual({ name: 'libs/broken.spec.ts', ms: 2_000, tally: { passed: 0, failed: 1, skipped: 0 } });
  expect(recap([{ name: 'unit', failures }])).toEqual([
    'FAILED unit: apps/images.spec.ts › images over REST › say who is away',
    '    Error: expect(received).toBe(expected)',
    '    Expected: 503',
    '    Received: 504',
    '    at Object.<anonymous> (/volley/apps/images.spec.ts:104:29)',
    'FAILED unit: libs/broken.spec.ts',
    "    Cannot find module './gone'",
  ]);
});

it('counts it as a failure when jest failed and no test did', () => {
  const outcome = jestOutcome({ testResults: REPORT.testResults.slice(2) }, 'killed by SIGKILL', '/volley');
  expect(outcome.tally).toEqual({ passed: 1, failed: 1, skipped: 0 });
  expect(outcome.failures).toEqual([
    { test: 'jest', message: 'it ended with killed by SIGKILL although no test failed' },
  ]);
});

it('keeps a long message short', () => {
  const message = Array.from({ length: 100 }, (_, i) => `${i} ${'x'.repeat(1_000)}`).join('\n');
  const lines = recap([{ name: 'e2e', failures: [{ test: 'a', message }] }]);
  expect(lines).toHaveLength(9);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(300);
});

it('tells those of ctest with the end of their output', () => {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="Linux" tests="4" failures="1" disabled="0" skipped="1" hostname="" time="1">
  <testcase name="vmm.good" classname="vmm.good" time="0.1" status="run"><system-out>all &lt;well&gt;</system-out></testcase>
  <testcase name="vmm.quiet" time="0.1" status="run"/>
  <testcase name="vmm.bad" classname="vmm.bad" time="0.1" status="fail">
    <failure message=""/>
    <system-out>${Array.from({ length: 50 }, (_, i) => `ok ${i}`).join('\n')}
net.cpp:7: 1 &lt; 2 &amp;&amp; more
</system-out>
  </testcase>
  <testcase name="vmm.kvm" time="0" status="notrun"><skipped message="no KVM"/></testcase>
</testsuite>`;
  const { tally, failures } = junitOutcome(xml, 8)!;
  expect(tally).toEqual({ passed: 2, failed: 1, skipped: 1 });
  const lines = recap([{ name: 'native', failures }]);
  expect(lines[0]).toBe('FAILED native: vmm.bad');
  expect(lines.at(-1)).toBe('    net.cpp:7: 1 < 2 && more');
  expect(lines).toHaveLength(9);
  expect(junitOutcome('', 0)).toBeUndefined();
  expect(junitOutcome('<testsuite tests="1">', 1)!.tally).toEqual({ passed: 0, failed: 1, skipped: 0 });
});
