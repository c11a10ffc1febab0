import { breakDownCpu, CpuWatch, type CpuLook } from './cpu-breakdown';

const look = (change: Partial<CpuLook> = {}): CpuLook => ({
  ...{ atMs: 0, othersMs: 1_000, vmms: new Map([[7, { cpuMs: 500, guestMs: 200 }]]) },
  host: { busyMs: 2_000, interruptMs: 10, idleMs: 5_000, waitingForIoMs: 100, stolenMs: 50 },
  ...change,
});
const sumOf = (parts: object): number => Object.values(parts).reduce((sum: number, part: number) => sum + part, 0);

describe('the parts of the CPU time', () => {
  it('are disjoint and sum to what the host accounts for', () => {
    const now = look({
      ...{ atMs: 10_000, othersMs: 6_000 },
      // One that went on, and one that is new.
      vmms: new Map([
        [7, { cpuMs: 4_500, guestMs: 3_700 }],
        [8, { cpuMs: 1_000, guestMs: 500 }],
      ]),
      host: { busyMs: 12_500, interruptMs: 110, idleMs: 13_900, waitingForIoMs: 600, stolenMs: 50 },
    });
    const parts = breakDownCpu(look(), now)!;
    const expected = {
      ...{ totalCores: 2, guestCores: 0.4, vmmCores: 0.1, otherProcessesCores: 0.5, interruptCores: 0.01 },
      ...{ waitingForIoCores: 0.05, stolenCores: 0, idleCores: 0.89, unexplainedCores: 0.05 },
    };
    for (const [name, cores] of Object.entries(expected))
      expect([name, parts[name as keyof typeof parts]]).toEqual([name, expect.closeTo(cores, 6) as number]);
    const { totalCores, ...rest } = parts;
    expect(sumOf(rest)).toBeCloseTo(totalCores, 6);
  });

  it('are not told of no time', () => {
    expect(breakDownCpu(look(), look())).toBeUndefined();
  });
});

it('looks at every process, with the children it has waited for; not with the VMMs of the agent', () => {
  const stat = (own: number, children: number) => `1 (x) S 1 2 3 0 -1 0 0 0 0 0 ${own} 0 ${children} 0 20 0 1 0 5 0 0`;
  const files: Record<string, string> = {};
  const at = (ticks: { host: number; init: number; children: number; agent: number; vmm: number }) => {
    files['/proc/stat'] = `cpu  ${ticks.host} 0 0 0 0 0 0 0\n`;
    files['/proc/1/stat'] = stat(ticks.init, ticks.children);
    files['/proc/7/stat'] = stat(ticks.agent, 1_000);
    files['/proc/9/stat'] = stat(ticks.vmm, 0);
  };
  const proc = { read: (path: string) => files[path], list: () => ['1', '7', '9', '12', 'self', 'meminfo'] };
  const watch = new CpuWatch(proc, 7, 10_000);
  const vmms = () => new Set([9]);
  at({ host: 0, init: 0, children: 0, agent: 0, vmm: 0 });
  expect(watch.read(0, vmms)).toBeUndefined();
  at({ host: 1_000, init: 100, children: 200, agent: 50, vmm: 600 });
  expect(watch.read(9_999, vmms)).toBeUndefined();
  expect(watch.read(10_000, vmms)).toMatchObject({
    totalCores: 1,
    otherProcessesCores: 0.35,
    vmmCores: 0.6,
    unexplainedCores: expect.closeTo(0.05, 9) as number,
  });
});
