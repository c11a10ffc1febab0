import { aHost, aReport } from './fixtures';
import { countHostStates, fleetCapacity, hostRows, level, worst } from './fleet-summary';

const fleet = {
  microvms: 0,
  slots: { total: 0, used: 0 },
  commitment: { vcpus: 0, memoryMiB: 0 },
  used: { cpuCores: 0, memoryMiB: 0 },
  overcommit: { cpu: 0, memory: 0 },
  headroom: { vcpus: 0, memoryMiB: 0, slots: 0 },
};
const density = {
  at: 100_000,
  hosts: [aReport({ hostId: 'b', at: 99_000 }), aReport({ hostId: 'c', at: 80_000 })],
  fleet,
};

describe('the summary of the fleet', () => {
  it('puts hosts and reports side by side and marks old reports', () => {
    const hosts = new Map([aHost({ id: 'b' }), aHost({ id: 'a' })].map((host) => [host.id, host]));
    expect(hostRows(hosts, density).map(({ id, host, density, stale }) => [id, !!host, !!density, stale])).toEqual([
      ['a', true, false, false],
      ['b', true, true, false],
      ['c', false, true, true],
    ]);
    expect(hostRows(hosts, null).map((row) => row.id)).toEqual(['a', 'b']);
  });

  it('sums capacity', () => {
    expect(fleetCapacity(density)).toEqual({ cpus: 4, memoryMiB: 32_768, reserveMiB: 2_048 });
  });

  it('finds the worst host of those that measure', () => {
    const hosts = [
      aReport({ hostId: 'x', pressure: { cpuSome: null, memorySome: 1, memoryFull: null, ioSome: null } }),
      aReport({ hostId: 'y', pressure: { cpuSome: 7, memorySome: 0, memoryFull: null, ioSome: null } }),
    ];
    expect(worst({ at: 0, hosts, fleet }, (report) => report.pressure.cpuSome)).toEqual({ value: 7, hostId: 'y' });
    expect(worst({ at: 0, hosts, fleet }, (report) => report.pressure.ioSome)).toBeNull();
  });

  it('counts host states and grades measures', () => {
    expect(Object.fromEntries(countHostStates([aHost(), aHost({ state: 'lost' }), aHost()]))).toEqual({
      ready: 2,
      lost: 1,
    });
    expect([null, 4, 5, 20].map((value) => level(value, 5, 20))).toEqual(['calm', 'calm', 'raised', 'high']);
  });
});
