import type { JournalRecord } from '../host/read-journal';
import { checkJournal } from './check-journal';

const LIMITS = { cpus: 2, memoryMiB: 1_200, reserveMiB: 200, slots: 3, overcommit: { cpu: 2, memory: 1 } };
const change = (type: string, microvmId: string, epoch: number, more: object = {}): JournalRecord => ({
  at: 0,
  change: { type, microvmId, epoch, ...more },
});
const admitted = (microvmId: string, slot: number, { epoch = 1, vcpus = 1, memoryMiB = 100 } = {}): JournalRecord =>
  change('admitted', microvmId, epoch, { slot, spec: { vcpus, memoryMiB, tenant: 't' } });
const ended = (microvmId: string, epoch = 1): JournalRecord => change('ended', microvmId, epoch);
const rules = (...records: JournalRecord[]): string[] => checkJournal('h', records, LIMITS).map(({ rule }) => rule);

describe('checking the journal of a host', () => {
  it('finds nothing wrong where places are given back before they are given again', () => {
    const fill = [admitted('a', 0), admitted('b', 1), admitted('c', 2)];
    const turnOver = [ended('a'), admitted('d', 0), ended('b'), admitted('b', 1, { epoch: 2 })];
    expect(rules(...fill, ...turnOver)).toEqual([]);
  });

  // A checker that cannot fail proves nothing: each violation is planted once.
  it.each<[string, string, JournalRecord[]]>([
    ['S4', 'more slots', [admitted('a', 0), admitted('b', 1), admitted('c', 2), admitted('d', 3)]],
    ['S4', 'more vCPUs', [admitted('a', 0, { vcpus: 3 }), admitted('b', 1, { vcpus: 2 })]],
    ['S4', 'more memory', [admitted('a', 0, { memoryMiB: 600 }), admitted('b', 1, { memoryMiB: 401 })]],
    ['S4', 'more, for a moment only', [admitted('a', 0, { memoryMiB: 1_001 }), ended('a')]],
    ['S6', 'a slot with two holders', [admitted('a', 0), admitted('b', 0)]],
    ['S1', 'an epoch beside the one before', [admitted('a', 0), admitted('a', 1, { epoch: 2 })]],
    ['S7', 'a start after it was erased', [admitted('a', 0), ended('a'), change('gone', 'a', 1), admitted('a', 0)]],
    ['S7', 'a start of what was given up', [change('fenced', 'a', 2), admitted('a', 0, { epoch: 2 })]],
  ])('reports %s for %s', (rule, _, records) => {
    expect(rules(...records)).toEqual([rule]);
  });

  it('counts what a compacted journal begins with', () => {
    const spec = { vcpus: 1, memoryMiB: 900, tenant: 't' };
    const incarnations = [{ microvmId: 'a', epoch: 1, phase: 'running', spec, slot: 0 }];
    expect(
      rules({ at: 0, snapshot: { incarnations, fences: [['z', 3]] } }, admitted('b', 1, { memoryMiB: 101 })),
    ).toEqual(['S4']);
    expect(rules({ at: 0, snapshot: { fences: [['z', 3]] } }, admitted('z', 1, { epoch: 3 }))).toEqual(['S7']);
  });
});
