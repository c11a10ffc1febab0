import { HostBooks } from '../host/host-books';
import type { Belongings } from '../host/scan-belongings';
import { checkBelongings } from './check-belongings';
import type { FoundVmm } from './scan-vmms';

const AGENT = 10;
const ID = '0'.repeat(26);
const OTHER = '1'.repeat(26);
const vmm = (more: Partial<FoundVmm> = {}): FoundVmm => ({
  ...{ pid: 20, startTicks: '1', microvmId: ID, epoch: 1, uid: 200_000, runDirectory: '/run/x' },
  ...more,
});
const spec = { vcpus: 1, memoryMiB: 8, tenant: 't' };

/** A host with one microVM that runs in slot 0, and one that has ended. */
function books(): HostBooks {
  const all = new HostBooks();
  all.apply({ at: 0, change: { type: 'admitted', microvmId: ID, epoch: 1, slot: 0, spec } });
  all.apply({ at: 0, change: { type: 'launched', microvmId: ID, epoch: 1, identity: { pid: 20 } } });
  all.apply({ at: 0, change: { type: 'admitted', microvmId: OTHER, epoch: 3, slot: 1, spec } });
  all.apply({ at: 0, change: { type: 'ended', microvmId: OTHER, epoch: 3 } });
  return all;
}

const orderly = (): Belongings => ({
  inSlots: [
    { slot: 0, pid: 20, parent: AGENT, isShell: false },
    { slot: 1, pid: 21, parent: AGENT, isShell: true },
  ],
  runFolders: [`${ID}-1`, `${OTHER}-3`],
  disks: [ID, OTHER],
  taps: [0],
  locks: 1,
});

const check = (vmms: FoundVmm[], held: Belongings): string[] =>
  checkBelongings({ hostId: 'h', pid: AGENT, slots: 4 }, books(), vmms, held).map(
    ({ rule, detail }) => `${rule} ${detail}`,
  );

describe('checking what a host holds', () => {
  it('finds nothing wrong where everything has its record', () => {
    expect(check([vmm()], orderly())).toEqual([]);
  });

  // A checker that cannot fail proves nothing: each violation is planted once.
  it.each<[string, RegExp, (held: Belongings, vmms: FoundVmm[]) => void]>([
    ['a process without a record', /no record/, (_, vmms) => vmms.push(vmm({ pid: 30, microvmId: '2'.repeat(26) }))],
    ['a process of what has ended', /runs, but/, (_, vmms) => vmms.push(vmm({ pid: 30, microvmId: OTHER, epoch: 3 }))],
    ['a process of another epoch', /runs, but/, (_, vmms) => vmms.push(vmm({ pid: 30, epoch: 2 }))],
    ['a record without a process', /does not run/, (_, vmms) => vmms.splice(0)],
    [
      'a process in a free slot',
      /nobody holds/,
      ({ inSlots }) => inSlots.push({ slot: 5, pid: 40, parent: 1, isShell: false }),
    ],
    ['a shell of an agent that died', /outlived/, ({ inSlots }) => (inSlots[1]!.parent = 1)],
    ['a run folder', /run folder/, ({ runFolders }) => runFolders.push(`${ID}-2`)],
    ['disks', /disks/, ({ disks }) => disks.push('2'.repeat(26))],
    ['a lock that two hold', /lock/, (held) => (held.locks = 2)],
    ['a tap of a slot that is not offered', /tap/, ({ taps }) => taps.push(99)],
  ])('reports %s', (_, detail, plant) => {
    const held = orderly();
    const vmms = [vmm()];
    plant(held, vmms);
    const found = check(vmms, held);
    expect(found.length).toBeGreaterThan(0);
    for (const one of found) expect(one).toMatch(/^S3 /);
    expect(found.join('\n')).toMatch(detail);
  });
});
