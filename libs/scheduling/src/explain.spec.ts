import { chooseHost } from './choose-host';
import { explainNone, reasonOf, verdictOn } from './explain';
import type { HostRow } from './host-table';
import { AT, demand, host, tableOf } from './scheduling.fixtures';

const occasionOf = (rows: HostRow[], change: Parameters<typeof demand>[0] = {}) => ({
  table: tableOf(...rows),
  demand: demand(change),
  at: AT,
});

describe('the explanation of a decision', () => {
  it('says of the filter at which most hosts fail how one of them fails, and what to do', () => {
    const full = { free: { slots: 0, vcpus: 8, memoryMiB: 1024 } };
    const occasion = occasionOf([host('away', { state: 'cordoned' }), host('b', full), host('c', full)]);
    expect(explainNone(occasion)).toEqual({
      filter: 'slots',
      reason:
        'none of 3 hosts passes; failed filters: slots (2), state (1); b: 0 free; delete microVMs, raise VOLLEY_SLOTS or add a host',
      hopeless: false,
    });
  });

  it('says so when there is no host at all, which may yet come', () => {
    expect(explainNone(occasionOf([]))).toEqual({
      filter: 'none',
      reason: 'no host has registered',
      hopeless: false,
    });
  });

  it.each([
    ['hosts that are too small', [host('a'), host('b')], { memoryMiB: 4096 }, true],
    ['no host with the image', [host('a', { images: [] })], {}, true],
    [
      'one that is full, and others that are too small',
      [host('a'), host('b', { kvm: false })],
      { excluded: ['a'] },
      false,
    ],
  ] as const)('knows whether waiting helps: %s', (_, rows, asked, hopeless) => {
    expect(explainNone(occasionOf([...rows], asked)).hopeless).toBe(hopeless);
  });

  it('has a verdict on every host', () => {
    const occasion = occasionOf([host('away', { state: 'cordoned' }), host('b'), host('c'), host('d')]);
    const choice = chooseHost(occasion, 3);
    const verdicts = occasion.table.rows.map((row) => verdictOn(row, occasion, choice));
    expect(verdicts.map(({ verdict }) => verdict).sort()).toEqual(['chosen', 'eligible', 'filtered', 'scored']);
    expect(verdicts[0]!.filters.filter(({ passed }) => !passed)).toEqual([
      { name: 'state', passed: false, detail: 'cordoned' },
    ]);
    const chosen = verdicts.find(({ verdict }) => verdict === 'chosen')!;
    expect(chosen).toMatchObject({ hostId: choice.hostId, total: choice.compared[0]!.total });
    expect(reasonOf(occasion, choice)).toBe('best of 2 sampled from 3 eligible of 4 hosts');
  });
});
