import { closingLine, sum } from './tally';

it('sums all runners into one plain line', () => {
  const all = sum([
    { passed: 1, failed: 0, skipped: 2 },
    { passed: 10, failed: 3, skipped: 0 },
  ]);
  expect(closingLine(all)).toBe('11 passed, 3 failed, 2 skipped');
});
