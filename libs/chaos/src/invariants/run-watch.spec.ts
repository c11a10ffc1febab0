import { RunWatch } from './run-watch';
import type { FoundVmm } from './scan-vmms';

const vmm = (pid: number, microvmId: string, more: Partial<FoundVmm> = {}): FoundVmm => ({
  ...{ pid, startTicks: '1', microvmId, epoch: 1, uid: 200_000 + pid, runDirectory: '/run/x' },
  ...more,
});

function look(found: FoundVmm[], { gone = [] as number[], deleted = [] as string[] } = {}): string[] {
  const watch = new RunWatch(
    [],
    () => found,
    ({ pid }) => !gone.includes(pid),
  );
  watch.deleted(deleted);
  watch.look();
  watch.look();
  return watch.violations.map(({ rule }) => rule);
}

describe('watching what runs', () => {
  it('finds nothing wrong with microVMs that run once, each in a slot of its own', () => {
    expect(look([vmm(1, 'a'), vmm(2, 'b'), vmm(3, 'c', { uid: 200_001, runDirectory: '/run/y' })])).toEqual([]);
  });

  it('does not take one that had ended when the next was seen for a second one', () => {
    expect(look([vmm(1, 'a'), vmm(2, 'a', { epoch: 2 })], { gone: [1] })).toEqual([]);
  });

  it.each([
    ['S1', [vmm(1, 'a'), vmm(2, 'a', { epoch: 2, runDirectory: '/run/y' })], []],
    ['S6', [vmm(1, 'a'), vmm(2, 'b', { uid: 200_001 })], []],
    ['S7', [vmm(1, 'a')], ['a']],
  ])('reports %s, and once', (rule, found, deleted) => {
    expect(look(found, { deleted })).toEqual([rule]);
  });
});
