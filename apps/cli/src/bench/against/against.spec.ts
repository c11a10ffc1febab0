import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NoResultError } from '../vmm/measured';
import type { BenchFiles, GuestMachine } from '../vmm/contender';
import { againstPlots } from './against-plots';
import { againstReport } from './against-report';
import type { AgainstParameters, AgainstResult } from './against.bench';
import { factorsOf } from './factors';
import { rivalOption, rivalProgram } from './rivals';
import { firecrackerConfig, startRuns, startVmms } from './start-contenders';
import { startFigure } from './start-figures';

const FILES: BenchFiles = {
  ...{ vmm: '/v', run: '/r', qemu: '/q', roms: '/roms', kernel: '/k', initrd: '', tools: '', disk: '' },
  ...{ starts: '/s', firecracker: '/fc', firecrackerConfig: '/fc.json' },
};
const MACHINE: GuestMachine = { vcpus: 1, memoryMiB: 16, cmdline: 'idle', disk: false, lifetimeS: 90 };
const COUNTS = { count: 7, concurrency: 3, held: 5, deadlineS: 9 };

describe('a rival', () => {
  it('is named with or without its program, once', () => {
    expect(rivalOption('qemu')).toEqual([{ kind: 'qemu' }]);
    expect(rivalOption('firecracker=/a=b/fc', [{ kind: 'qemu' }])).toEqual([
      { kind: 'qemu' },
      { kind: 'firecracker', path: '/a=b/fc' },
    ]);
    expect(() => rivalOption('bochs')).toThrow(/one of qemu, firecracker/);
    expect(() => rivalOption('qemu=/x', [{ kind: 'qemu' }])).toThrow(/named twice/);
  });

  it('that is not there is said with what to do', () => {
    const path = process.env.PATH;
    try {
      process.env.PATH = '/nowhere';
      expect(() => rivalProgram({ kind: 'qemu' })).toThrow(/missing; install the Debian package qemu-system-x86/);
    } finally {
      process.env.PATH = path;
    }
    expect(() => rivalProgram({ kind: 'firecracker', path: '/nowhere' })).toThrow(/no program that can be run/);
    const folder = mkdtempSync(join(tmpdir(), 'volley-rival-'));
    const file = join(folder, 'fc');
    writeFileSync(file, '');
    chmodSync(file, 0o755);
    expect(rivalProgram({ kind: 'firecracker', path: file })).toBe(file);
    rmSync(folder, { recursive: true });
  });
});

describe('contenders of starts', () => {
  const vmms = startVmms([{ kind: 'qemu' }, { kind: 'firecracker' }], true);

  it('are ours with and without the whole jail, which takes root, and the rivals', () => {
    expect(vmms.map(({ name }) => name)).toEqual(['volley', 'volley-jailed', 'qemu-microvm', 'firecracker']);
    expect(startVmms([], false).map(({ name }) => name)).toEqual(['volley']);
  });

  it('get the same guest', () => {
    const config = firecrackerConfig('/k', MACHINE);
    for (const { argv } of vmms) {
      const all = `${argv(FILES, MACHINE).join(' ')} `.replace('/fc.json ', `${config} `);
      expect(all).toMatch(/(--?kernel |"kernel_image_path":")\/k\b/);
      expect(all).toMatch(/(--memory |-m |"mem_size_mib":)16\b/);
      expect(all).toMatch(/(--cmdline |-append |"boot_args":")idle\b/);
    }
  });

  it('take turns within each measure, each started as often', () => {
    const runs = startRuns(vmms.slice(1, 3), COUNTS);
    expect(runs.map(({ contender }) => contender.name)).toEqual([
      ...['start of volley-jailed', 'start of qemu-microvm', 'rate of volley-jailed', 'rate of qemu-microvm'],
      ...['memory of volley-jailed', 'memory of qemu-microvm'],
    ]);
    const words = runs.map(({ contender }) => contender.argv(FILES, MACHINE).join(' '));
    expect(words[0]).toMatch(/^\/s --until .* --deadline 9 --count 7 -- \/r /);
    expect(words[3]).toMatch(/ --count 7 --concurrency 3 -- \/q /);
    expect(words[5]).toMatch(/ --count 5 --concurrency 3 --hold yes -- \/q /);
  });
});

describe('what starts have measured', () => {
  it('is the latency of each, or how many there were in a time', () => {
    const console = 'noise\r\n{"wallUs":2000000,"readyUs":[3000,1000,2000,9000]}\r\n';
    expect(startFigure('start', console)).toEqual({ p50: 2_000, p99: 9_000, max: 9_000, mean: 3_750 });
    expect(startFigure('rate', console)).toEqual({ operationsPerSecond: 2 });
  });

  it('is the memory of all that one microVM consists of', () => {
    const programs = {
      'volley-run': { processes: 2, proportionalKiB: 100, privateKiB: 40 },
      'volley-vmm': { processes: 2, proportionalKiB: 300, privateKiB: 200 },
    };
    const text = JSON.stringify({
      wallUs: 1,
      readyUs: [1, 1],
      availableKiB: { before: 5_000, after: 3_000 },
      programs,
    });
    expect(startFigure('memory', text)).toEqual({ hostKiB: 1_000, proportionalKiB: 200, privateKiB: 120 });
  });

  it('is missed with what was said instead', () => {
    expect(() => startFigure('start', 'volley-starts: qemu: "x" was not said')).toThrow(NoResultError);
  });
});

const RESULT: AgainstResult = {
  ...{ where: 'this machine', guest: 'g' },
  medians: [
    {
      of: 'start',
      medians: { volley: { p50: 2_000 }, 'qemu-microvm': { p50: 50_000 }, 'volley-fleet': { p50: 9_000 } },
    },
    { of: 'rate', medians: { volley: { operationsPerSecond: 300 }, 'qemu-microvm': { operationsPerSecond: 10 } } },
    {
      of: 'memory',
      medians: { volley: { hostKiB: -5, privateKiB: 512 }, 'qemu-microvm': { hostKiB: 9, privateKiB: 256 } },
    },
  ],
  factors: [],
  rounds: {
    volley: [{ start: { p50: 1_000 } }, { start: { p50: 3_000 } }],
    'qemu-microvm': [{ start: { p50: 50_000 } }, { start: { p50: 50_000 } }],
    'volley-fleet': [{}, {}],
  },
};
RESULT.factors = factorsOf(RESULT.medians, ['volley', 'volley-fleet'], ['qemu-microvm']);

describe('how far ahead one is', () => {
  it('is above 1 for less time and memory, and for more starts', () => {
    expect(RESULT.factors.map(({ of, measure, ours, factor }) => [of, measure, ours, factor])).toEqual([
      ['start', 'p50', 'volley', 25],
      ['start', 'p50', 'volley-fleet', 5.56],
      ['rate', 'operationsPerSecond', 'volley', 30],
      ['memory', 'privateKiB', 'volley', 0.5],
    ]);
  });

  it('is told for people beside what it comes from', () => {
    const told = againstReport({ ...COUNTS, rounds: 2, memoryMiB: 16 } as AgainstParameters, RESULT);
    expect(told).toMatch(/start +p50, ms +2\.00 +50\.00 +9\.00 +x 25\n/);
    expect(told).toMatch(/memory +private, MiB +0\.50 +0\.25 +- +x 0\.5\n/);
    expect(told).toContain('2 rounds of 7 starts one at a time, 7 with 3 in flight, and 5 held at once');
  });

  it('is drawn round by round', () => {
    const [latency] = againstPlots(RESULT);
    expect(latency!.series).toEqual([
      { name: 'volley', points: [[1, 1], [2, 3]] },
      { name: 'qemu-microvm', points: [[1, 50], [2, 50]] },
    ]); // prettier-ignore
  });
});
