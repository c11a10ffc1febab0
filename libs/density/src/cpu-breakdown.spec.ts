import { breakDownCpu, otherProcessesMs, type CpuLook } from './cpu-breakdown';

const look = (change: Partial<CpuLook> = {}): CpuLook => ({
  ...{ atMs: 0, otherProcessesMs: 1_000, microvms: { cpuMs: 500, guestMs: 200 } },
  host: { busyMs: 2_000, interruptMs: 10, idleMs: 5_000, waitingForIoMs: 100, stolenMs: 50 },
  ...change,
});

describe('the parts of the CPU time', () => {
  it('are disjoint and sum to what the host accounts for', () => {
    const now = look({
      ...{ atMs: 10_000, otherProcessesMs: 6_000, microvms: { cpuMs: 5_500, guestMs: 4_200 } },
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
    expect(Object.values(rest).reduce((sum, part) => sum + part, 0)).toBeCloseTo(totalCores, 6);
  });

  it('are not told of no time', () => {
    expect(breakDownCpu(look(), look())).toBeUndefined();
  });
});

it('looks at every process that is no VMM, with the children it has waited for; not with the VMMs of the agent', () => {
  const stat = (own: number, children: number) => `1 (x) S 1 2 3 0 -1 0 0 0 0 0 ${own} 0 ${children} 0 20 0 1 0 5 0 0`;
  const files: Record<string, string> = {
    '/proc/1/stat': stat(100, 50),
    '/proc/7/stat': stat(30, 1_000),
    '/proc/9/stat': stat(9_999, 0),
  };
  const proc = { read: (path: string) => files[path], list: () => ['1', '7', '9', '12', 'self', 'meminfo'] };
  expect(otherProcessesMs(proc, new Set([9]), 7)).toBe(1_000 + 500 + 300);
});
