import { densityMedians } from './density-medians';
import { densityPlots } from './density-plots';
import type { DensityResult } from './density.bench';
import { leftovers, type HostThings } from './host-things';
import { busyMs, type UsagePoint } from './host-usage';
import { startWindows } from './start-windows';

const point = (microvms: number, atMs: number, busy: number, hostd: number): UsagePoint => ({
  ...{ microvms, atMs, hostUsedKiB: 1_024 * (100 + microvms), controlPlaneKiB: 0, busyMs: busy },
  cpuMs: { hostd, client: 0 },
});
const started = (admittedAt: number, tookMs: number, pid: number) => ({
  timings: {
    requestedAt: admittedAt - 5,
    acceptedAt: 0,
    admittedAt,
    guestBootedAt: admittedAt + tookMs,
    runningAt: admittedAt + 9,
  },
  pid,
});

describe('what filling a host costs', () => {
  const all = [started(30, 4, 3), started(10, 2, 1), started(20, 3, 2), started(40, 8, 4)];
  const windows = startWindows(all, [point(0, 0, 0, 0), point(2, 100, 20, 6)], 2, (pid) => pid);

  it('is told for so many starts in a row, in the order of their admission', () => {
    expect(
      windows.map(({ from, to, admissionToGuest }) => [from, to, admissionToGuest?.p50, admissionToGuest?.p99]),
    ).toEqual([
      [1, 2, 2, 3],
      [3, 4, 4, 8],
    ]);
  });

  it('is split by who spent it; what nobody of ours did is said, too', () => {
    expect(windows[0]).toMatchObject({
      perSecond: 20,
      cpuMsEach: { host: 10, hostd: 3, client: 0, vmms: 1.5, others: 5.5 },
    });
    expect(windows[1]).toMatchObject({ perSecond: null, cpuMsEach: null });
  });

  it('is drawn over the number of microVMs', () => {
    const fill = [point(0, 0, 0, 0), point(2, 100, 20, 6)];
    const [latency, cpu, memory] = densityPlots({ windows, fill } as DensityResult);
    expect(latency!.series[1]!.points).toEqual([
      [2, 3],
      [4, 8],
    ]);
    expect(cpu!.series[0]!.points).toEqual([[2, 10]]);
    expect(memory!.series[0]!.points).toEqual([
      [0, 0],
      [2, 2],
    ]);
  });

  it('counts time on a CPU alone', () => {
    expect(busyMs('cpu  1 2 3 400 50 6 7 8 9 0\ncpu0 1 1 1 1\n')).toBe(190);
  });
});

it('calls a leak what a host holds more than before, and no more than that', () => {
  const before: HostThings = { vmms: 4, guests: 0, cgroupsInUse: 12, cgroups: 12, runFolders: 0, taps: 32, disks: 0 };
  expect(leftovers(before, { ...before, vmms: 3 })).toEqual([]);
  expect(leftovers(before, { ...before, vmms: 5, runFolders: 2, cgroups: 99 }, ['cgroups'])).toEqual([
    '1 vmms',
    '2 runFolders',
  ]);
});

it('is repeated, and told by the median of each figure; what a run lacks does not count', () => {
  const run = (wallMs: number, p99: number | null, reclaimedMs: number | null): DensityResult =>
    ({
      ...{ wallMs, startsPerSecond: 4e6 / wallMs, slowdown: null, memory: { marginalCostKiB: 900 } },
      ...{
        phases: { admissionToGuest: p99 === null ? null : { p50: 3, p99 } },
        teardown: { deletedMs: 6, reclaimedMs },
      },
    }) as unknown as DensityResult;
  expect(densityMedians([run(20_000, 25, 7), run(16_000, null, null), run(40_000, 15, 9)])).toEqual({
    ...{ wallMs: 20_000, startsPerSecond: 200, startP50: 3, startP99: 20, slowdownP99: null },
    ...{ marginalCostKiB: 900, deletedMs: 6, reclaimedMs: 8 },
  });
});
