import { readFileSync } from 'node:fs';
import { MicrovmSampler, type SampleTarget } from './microvm-sampler';
import { parseProcessStat } from './proc-files';
import { BlockingProcReader, type ProcReader } from './proc-reader';
import { SamplingCost } from './sampling-cost';
import { readHost } from './host-reading';

/** A host of invented processes, each file read takes 1 ms of the invented clock. */
class ScriptedProc implements ProcReader {
  nowMs = 0;
  readonly reads: string[] = [];
  readonly files = new Map<string, string>();

  read(path: string): string | undefined {
    this.nowMs += 1;
    this.reads.push(path);
    return this.files.get(path);
  }

  list(): string[] {
    return [];
  }

  process(pid: number, cpuTicks: number, runNs: number, delayNs: number, startTicks = '500'): void {
    const times = `${cpuTicks} 0 0 0 20 0 3 0 ${startTicks}`;
    const rest = `${'0 '.repeat(20)}${cpuTicks / 2}`;
    this.files.set(`/proc/${pid}/stat`, `${pid} (vmm) S 1 2 3 0 -1 0 0 0 0 0 ${times} ${rest}`);
    this.files.set(
      `/proc/${pid}/smaps`,
      '1000-2000 rw-p 00000000 00:00 0\nRss: 60 kB\nPss: 30 kB\nPrivate_Dirty: 24 kB\nAnonymous: 24 kB\n' +
        '9000-a000 rw-p 00000000 00:00 0\nRss: 8 kB\nPss: 6 kB\nPrivate_Dirty: 4 kB\nAnonymous: 4 kB\n',
    );
    this.resident(pid, 28);
    this.files.set(`/proc/${pid}/task/${pid + 1}/schedstat`, `${runNs} ${delayNs} 3`);
  }

  resident(pid: number, anonymousKiB: number): void {
    const sizes = `RssAnon:\t${anonymousKiB} kB\nRssFile:\t  40 kB\nRssShmem:\t 0 kB\nVmPTE:\t  28 kB\n`;
    this.files.set(`/proc/${pid}/status`, `Name:\tvmm\nVmRSS:\t 68 kB\n${sizes}Threads:\t3\n`);
  }

  walks(): number {
    return this.reads.filter((path) => path.endsWith('/smaps')).length;
  }
}

const target = (pid: number): SampleTarget => ({
  id: `vm${pid}`,
  epoch: 1,
  pid,
  startTicks: '500',
  guestMemoryAddress: 0x1000n,
  guestMemoryBytes: 0x1000,
  vcpuTids: [pid + 1],
});

describe('sampler', () => {
  it('takes differences between two readings', () => {
    const proc = new ScriptedProc();
    const sampler = new MicrovmSampler(proc, { intervalMs: 0, budgetMs: 1000, nowMs: () => proc.nowMs });
    proc.process(10, 100, 1_000_000, 0);
    sampler.track(target(10));
    sampler.round();
    proc.nowMs = 10_000;
    proc.process(10, 600, 31_000_000, 10_000_000);
    const [sample] = sampler.round();
    expect(sample).toMatchObject({
      id: 'vm10',
      proportionalKiB: 36,
      privateKiB: 28,
      overheadKiB: 4,
      vcpuWaitPercent: 25,
      ...{ residentKiB: 68, guestKiB: 24, sharedKiB: 36, sharedProportionalKiB: 6, vmmKiB: 4, pageTablesKiB: 28 },
    });
    expect(sample!.cpuCores).toBeCloseTo(0.5, 2);
    expect(sample!.guestCores).toBeCloseTo(0.25, 2);
    expect(sampler.cpuTime()).toMatchObject({ cpuMs: 6_000, runNs: 31_000_000, delayNs: 10_000_000 });
  });

  it('goes on from the last walk of the page tables by what the kernel counts, and walks them again now and then', () => {
    const proc = new ScriptedProc();
    const sampler = new MicrovmSampler(proc, { intervalMs: 0, budgetMs: 1000, nowMs: () => proc.nowMs });
    proc.process(10, 0, 0, 0);
    sampler.track(target(10));
    sampler.round();
    proc.resident(10, 128);
    proc.nowMs += 5_000;
    expect(sampler.round()[0]).toMatchObject({ proportionalKiB: 136, privateKiB: 128, guestKiB: 124, overheadKiB: 4 });
    expect(proc.walks()).toBe(1);
    proc.nowMs += 60_000;
    sampler.round();
    expect(proc.walks()).toBe(2);
  });

  it('takes less than a hundredth of a core for each thousand', () => {
    const proc = new ScriptedProc();
    const sampler = new MicrovmSampler(proc, { intervalMs: 0, budgetMs: 50, nowMs: () => proc.nowMs });
    for (let pid = 1_000; pid < 3_000; pid += 2) {
      proc.process(pid, 0, 0, 0);
      sampler.track(target(pid));
    }
    while (sampler.pids().size < 1_000) sampler.round();
    const begin = proc.nowMs;
    let busyMs = 0;
    for (let i = 0; i < 300; i++) {
      const before = proc.nowMs;
      sampler.round();
      busyMs += proc.nowMs - before;
      proc.nowMs = before + 1_000;
    }
    expect(busyMs / (proc.nowMs - begin)).toBeLessThan(0.012); // a reading of 3 ms may begin within the budget and end after it
    expect(busyMs).toBeGreaterThan(1_000);
  });

  it('keeps a round within its budget and reaches everyone in turn, newcomers first', () => {
    const proc = new ScriptedProc();
    const sampler = new MicrovmSampler(proc, { intervalMs: 0, budgetMs: 18, nowMs: () => proc.nowMs });
    for (let pid = 100; pid < 120; pid += 2) {
      proc.process(pid, 0, 0, 0);
      sampler.track(target(pid));
    }
    const rounds: string[][] = [];
    while (sampler.pids().size < 10) rounds.push(sampler.round().map((sample) => sample.id));
    expect(Math.max(...rounds.map((round) => round.length))).toBeLessThanOrEqual(6);
    expect(new Set(rounds.flat()).size).toBe(10);
    proc.process(200, 0, 0, 0);
    sampler.track(target(200));
    expect(sampler.round()[0]!.id).toBe('vm200');
  });

  it('measures nobody again before the interval is over', () => {
    const proc = new ScriptedProc();
    const sampler = new MicrovmSampler(proc, { intervalMs: 5_000, budgetMs: 1000, nowMs: () => proc.nowMs });
    proc.process(10, 0, 0, 0);
    sampler.track(target(10));
    expect(sampler.round()).toHaveLength(1);
    expect(sampler.round()).toHaveLength(0);
    proc.nowMs += 5_000;
    expect(sampler.round()).toHaveLength(1);
  });

  it('does not take a stranger for a microVM whose number it inherited', () => {
    const proc = new ScriptedProc();
    const sampler = new MicrovmSampler(proc, { intervalMs: 0, budgetMs: 1000, nowMs: () => proc.nowMs });
    proc.process(10, 0, 0, 0, '501');
    sampler.track(target(10));
    expect(sampler.round()).toEqual([]);
    expect(sampler.pids().size).toBe(0);
  });
});

describe('on this machine', () => {
  it('measures a real process: this one', () => {
    const startTicks = parseProcessStat(readFileSync('/proc/self/stat', 'latin1'))!.startTicks;
    const proc = new BlockingProcReader();
    const sampler = new MicrovmSampler(proc, { intervalMs: 0, budgetMs: 1000, nowMs: () => performance.now() });
    const cost = new SamplingCost(proc);
    cost.begin();
    sampler.track({ ...target(process.pid), startTicks, vcpuTids: [process.pid] });
    const [sample] = sampler.round();
    expect(sample!.proportionalKiB).toBeGreaterThan(1000);
    // It has no guest memory; what it has taken between two files of one reading counts as such.
    expect(sample!.privateKiB - sample!.overheadKiB).toBeLessThan(1024);
    expect(sample!.cpuCores).toBeGreaterThan(0);
    expect(cost.end()).toBeGreaterThanOrEqual(0);
  });

  it('reads the host', () => {
    const host = readHost(new BlockingProcReader());
    expect(host.memory.totalKiB).toBeGreaterThan(host.memory.availableKiB);
  });

  it('gives null where the kernel has no PSI', () => {
    const proc = new ScriptedProc();
    proc.files.set('/proc/meminfo', 'MemTotal: 10 kB\nMemAvailable: 4 kB\n');
    expect(readHost(proc).pressure).toEqual({ cpuSome: null, memorySome: null, memoryFull: null, ioSome: null });
  });
});
