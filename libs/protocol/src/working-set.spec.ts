import fc from 'fast-check';
import { WORKING_SET_MOST_BYTES, WorkingSet, workingSetBytes, workingSetEnd } from './working-set';

const PAGE = 4_096;
const isOne = (runs: unknown, schema: unknown = 1): boolean => WorkingSet.safeParse({ schema, runs }).success;

describe('working sets', () => {
  it('are whole pages in order, apart from each other, and 8 MiB at most', () => {
    const whole = WorkingSet.parse({ schema: 1, runs: [[0, PAGE], [2 * PAGE, 3 * PAGE]] }); // prettier-ignore
    expect([workingSetEnd(whole), workingSetBytes(whole)]).toEqual([5 * PAGE, 4 * PAGE]);
    expect([isOne([]), isOne([[0, WORKING_SET_MOST_BYTES]]), isOne([], 2)]).toEqual([true, true, false]);
    for (const runs of [
      [[0, 0]],
      [[1, PAGE]],
      [[0, PAGE + 1]],
      [[-PAGE, PAGE]],
      [['0', PAGE]],
      [[0, PAGE, 1]],
      [[0]],
      [[2 ** 53, PAGE]],
      [[0, WORKING_SET_MOST_BYTES + PAGE]],
      [
        [2 * PAGE, PAGE],
        [0, PAGE],
      ],
      [
        [0, 2 * PAGE],
        [PAGE, PAGE],
      ],
      [
        [0, PAGE],
        [PAGE, PAGE],
      ],
    ]) {
      expect([runs, isOne(runs)]).toEqual([runs, false]);
    }
    const most = Array.from({ length: 2_048 }, (_, index) => [2 * index * PAGE, PAGE]);
    expect([isOne(most), isOne([...most, [2 ** 40, PAGE]])]).toEqual([true, false]);
  });

  it('that are accepted are never more than they may be, whoever made them', () => {
    const number = fc.oneof(fc.nat(4_096).map((page) => page * PAGE), fc.integer(), fc.double(), fc.maxSafeInteger()); // prettier-ignore
    fc.assert(
      fc.property(fc.array(fc.tuple(number, number), { maxLength: 6 }), (runs) => {
        const { success, data } = WorkingSet.safeParse({ schema: 1, runs });
        if (!success) return;
        expect(workingSetBytes(data)).toBeLessThanOrEqual(WORKING_SET_MOST_BYTES);
        const covered = new Set(data.runs.flatMap(([at, length]) => Array.from({ length: length / PAGE }, (_, i) => at / PAGE + i))); // prettier-ignore
        expect(covered.size * PAGE).toBe(workingSetBytes(data));
        expect(Math.max(0, ...[...covered].map((page) => (page + 1) * PAGE))).toBe(workingSetEnd(data));
      }),
      { numRuns: 2_000 },
    );
  });
});
