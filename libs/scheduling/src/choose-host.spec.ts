import fc from 'fast-check';
import type { Candidate, Demand } from './candidate';
import { chooseHost } from './choose-host';
import { REPORT_MAX_AGE_MS } from './filters';

const demand: Demand = {
  image: 'canary',
  vcpus: 1,
  memoryMiB: 32,
  tenant: 'default',
  excluded: [],
  imported: false,
  network: false,
};

function host(hostId: string, change: Partial<Candidate> = {}): Candidate {
  return {
    hostId,
    ready: true,
    state: 'ready',
    kvmAvailable: true,
    images: ['canary'],
    linux: true,
    network: true,
    reportAgeMs: 100,
    free: { slots: 10, vcpus: 8, memoryMiB: 1024 },
    capacity: { slots: 10, vcpus: 8, memoryMiB: 1024 },
    pressurePercent: 0,
    ...change,
  };
}

describe('choosing a host', () => {
  it('takes the emptier of two', () => {
    const full = host('full', { free: { slots: 5, vcpus: 2, memoryMiB: 100 } });
    expect(chooseHost([full, host('empty')], demand, () => 0).hostId).toBe('empty');
  });

  it.each<[string, Partial<Candidate>, Partial<Demand>]>([
    ['state', { ready: false, state: 'cordoned' }, {}],
    ['notExcluded', {}, { excluded: ['one'] }],
    ['kvm', { kvmAvailable: false }, {}],
    ['image', { images: [] }, {}],
    ['image', { linux: false }, { image: 'alpine', imported: true }],
    ['network', { network: false }, { network: true }],
    ['report', { reportAgeMs: null }, {}],
    ['report', { reportAgeMs: REPORT_MAX_AGE_MS + 1 }, {}],
    ['slots', { free: { slots: 0, vcpus: 8, memoryMiB: 1024 } }, {}],
    ['vcpus', {}, { vcpus: 9 }],
    ['memory', {}, { memoryMiB: 1025 }],
  ])('refuses by filter %s and names it', (filter, change, asked) => {
    const choice = chooseHost([host('one', change)], { ...demand, ...asked }, () => 0);
    expect(choice.hostId).toBeNull();
    expect(choice.reason).toContain(`${filter} (1)`);
    expect(choice.hosts[0]!.filters.filter(({ passed }) => !passed).map(({ name }) => name)).toEqual([filter]);
  });

  it('says of the filter at which most hosts fail how one of them fails, and what to do', () => {
    const full = { free: { slots: 0, vcpus: 8, memoryMiB: 1024 } };
    const hosts = [host('away', { ready: false, state: 'cordoned' }), host('b', full), host('c', full)];
    expect(chooseHost(hosts, demand, () => 0).reason).toBe(
      'none of 3 hosts passes; failed filters: slots (2), state (1); b: 0 free; delete microVMs, raise VOLLEY_SLOTS or add a host',
    );
  });

  it('says so when there is no host at all', () => {
    expect(chooseHost([], demand, () => 0)).toEqual({ hostId: null, reason: 'no host has registered', hosts: [] });
  });

  it('explains every host, and only ever chooses one that passes every filter', () => {
    const candidates = fc.array(
      fc.record({
        ready: fc.boolean(),
        slots: fc.integer({ min: 0, max: 3 }),
        memoryMiB: fc.integer({ min: 0, max: 64 }),
      }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(candidates, fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })), (drawn, numbers) => {
        const hosts = drawn.map(({ ready, slots, memoryMiB }, i) =>
          host(`h${i}`, { ready, free: { slots, vcpus: 8, memoryMiB } }),
        );
        const choice = chooseHost(hosts, demand, () => numbers.next().value);
        expect(choice.hosts.map(({ hostId }) => hostId)).toEqual(hosts.map(({ hostId }) => hostId));
        const fits = drawn.flatMap(({ ready, slots, memoryMiB }, i) =>
          ready && slots > 0 && memoryMiB >= 32 ? [`h${i}`] : [],
        );
        if (fits.length === 0) expect(choice.hostId).toBeNull();
        else expect(fits).toContain(choice.hostId);
        expect(choice.hosts.filter(({ verdict }) => verdict === 'chosen')).toHaveLength(fits.length > 0 ? 1 : 0);
        expect(choice.hosts.filter(({ total }) => total !== null).length).toBe(Math.min(2, fits.length));
      }),
    );
  });

  it('spreads over equal hosts', () => {
    let seed = 1;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    const hosts = Array.from({ length: 10 }, (_, i) => host(`h${i}`));
    const counts = new Map<string, number>();
    for (let i = 0; i < 1_000; i++) {
      const { hostId } = chooseHost(hosts, demand, random);
      counts.set(hostId!, (counts.get(hostId!) ?? 0) + 1);
    }
    expect(counts.size).toBe(10);
    expect(Math.min(...counts.values())).toBeGreaterThan(50);
  });
});
