import { askedFor } from '../testing/demands';
import { afterEvents, readyHost, reportOf } from '../../../../test/support/known-hosts';
import { HostBook } from './host-book';

const NOBODY = { tenants: [], groups: [], images: [], answered: [] };

describe('the book of hosts', () => {
  let news: string[];
  let book: HostBook;
  const free = () => book.table.rows[0]!.free;
  const { demand } = askedFor('m', { vcpus: 2, labels: { app: 'web' }, placement: { antiAffinity: ['app'] } });

  beforeEach(() => {
    news = [];
    book = new HostBook((hostId) => news.push(hostId));
    book.heardOf(readyHost('a'));
    book.reported(reportOf('a', { occupancy: NOBODY }), 1_000);
  });

  it('has a row of every host, with what its history and its last report say', () => {
    book.reported(
      reportOf('a', { headroom: { slots: 7 }, cpuSome: 12, occupancy: { ...NOBODY, images: ['sha256:1'] } }),
      2_000,
    );
    expect(book.table.rows).toHaveLength(1);
    expect(book.table.rows[0]).toMatchObject({
      ...{ hostId: 'a', state: 'ready', kvm: true, linux: true, network: true, images: ['canary'] },
      cachedImages: ['sha256:1'],
      capacity: { slots: 1_000, vcpus: 160, memoryMiB: 65_536 },
      free: { slots: 7, vcpus: 160, memoryMiB: 65_536 },
      ...{ reportedAt: 2_000, pressurePercent: 12 },
    });
    expect(news).toEqual(['a', 'a', 'a']);
  });

  it('keeps a placement off its host until a report says that the host has answered for it', () => {
    book.place('a', 'm1', demand, 1_000);
    book.place('a', 'm2', demand, 1_000);
    expect(free()).toEqual({ slots: 998, vcpus: 156, memoryMiB: 65_472 });
    // Neither of them is in this one.
    book.reported(reportOf('a', { occupancy: NOBODY }), 1_900);
    expect(free()).toEqual({ slots: 998, vcpus: 156, memoryMiB: 65_472 });
    expect(book.table.rows[0]!.groups).toEqual(new Map([['default app=web', 2]]));
    expect(book.table.rows[0]!.occupants.countOf('default')).toBe(2);
    // The first one is, in its sums; or it was refused.
    const headroom = { slots: 999, vcpus: 158, memoryMiB: 65_504 };
    const tenants = [{ tenant: 'default', microvms: 1 }];
    book.reported(reportOf('a', { headroom, occupancy: { ...NOBODY, tenants, answered: ['m1'] } }), 2_900);
    expect(free()).toEqual({ slots: 998, vcpus: 156, memoryMiB: 65_472 });
    expect(book.table.rows[0]!.occupants.countOf('default')).toBe(2);
  });

  it('gives back at once what nobody wants any more, unless the host has answered for it', () => {
    book.place('a', 'm1', demand, 1_000);
    book.place('a', 'm2', demand, 1_000);
    news.length = 0;
    book.withdraw('a', 'm1');
    expect(free().slots).toBe(999);
    expect(book.table.rows[0]!.occupants.countOf('default')).toBe(1);
    expect(book.takeChanges()).toEqual([expect.objectContaining({ do: 'host', hostId: 'a' })]);
    book.withdraw('a', 'm1');
    book.withdraw('nowhere', 'm2');
    expect(news).toEqual(['a']);
    book.reported(reportOf('a', { headroom: { slots: 999 }, occupancy: { ...NOBODY, answered: ['m2'] } }), 1_900);
    book.withdraw('a', 'm2');
    expect(free().slots).toBe(999);
  });

  it('does not keep it for ever, when no report tells; for a host that names nothing not for long', () => {
    book.place('a', 'm1', demand, 1_000);
    book.reported(reportOf('a', { occupancy: NOBODY }), 5_999);
    expect(free().slots).toBe(999);
    book.reported(reportOf('a', { occupancy: NOBODY }), 6_000);
    expect(free().slots).toBe(1_000);
    book.place('a', 'm2', demand, 7_000);
    book.reported(reportOf('a'), 7_499);
    expect(free().slots).toBe(999);
    book.reported(reportOf('a'), 7_500);
    expect(free().slots).toBe(1_000);
  });

  it('follows the states of hosts, and forgets those that are retired', () => {
    const life = readyHost('a');
    const cordoned = afterEvents(life, { type: 'cordonRequested' });
    book.heardOf(cordoned);
    expect(book.table.rows[0]!.state).toBe('cordoned');
    book.heardOf(afterEvents(afterEvents(cordoned, { type: 'leaseExpired' }), { type: 'retireRequested' }));
    expect(book.table.size).toBe(0);
    expect(book.reports()).toEqual([]);
  });

  it('takes a report that comes before the history', () => {
    book.reported(reportOf('b', { headroom: { slots: 3 } }), 1_500);
    expect(book.table.indexOf('b')).toBeUndefined();
    book.heardOf(readyHost('b'));
    expect(book.table.rows[1]).toMatchObject({ hostId: 'b', reportedAt: 1_500, free: { slots: 3 } });
  });

  it('tells changes once, as little of them as makes the same table', () => {
    expect(book.membersChanged).toBe(true);
    expect(book.takeAll().map((step) => step.do)).toEqual(['host']);
    expect([book.membersChanged, book.takeChanges()]).toEqual([false, []]);
    book.reported(reportOf('a', { headroom: { slots: 5 } }), 3_000);
    book.reported(reportOf('a', { headroom: { slots: 4 } }), 4_000);
    expect(book.takeChanges()).toMatchObject([{ do: 'load', hostId: 'a', free: [4, 160, 65_536] }]);
    book.heardOf(afterEvents(readyHost('a'), { type: 'cordonRequested' }));
    book.reported(reportOf('a'), 5_000);
    expect(book.takeChanges()).toMatchObject([{ do: 'host', state: 'cordoned' }]);
    expect(book.takeChanges()).toEqual([]);
  });
});
