import { gzipSync } from 'node:zlib';
import { CliError } from '../../errors';
import { compare, median } from './compare';
import { QEMU_MICROVM, VOLLEY, type BenchFiles, type Contender, type GuestMachine } from './contender';
import { FIO_JOBS, IO_JOBS } from './io-jobs';
import { fioFigures, iperfFigure, pingFigure, resultText } from './measured';
import { sideBySide } from './side-by-side';
import { thisMachine, type Stage } from './stage';

const packed = (name: string, text: string, end = '\n'): string =>
  `boot noise${end}result ${name} begins${end}${gzipSync(text).toString('base64').replace(/.{60}/g, `$&${end}`)}${end}result ${name} ends${end}`;

describe('what a guest has measured', () => {
  it('comes over a serial console, even through two of them', () => {
    const text = JSON.stringify({ long: 'x'.repeat(500), other: Math.PI });
    expect(resultText(packed('fio', text), 'fio')).toBe(text);
    expect(resultText(packed('fio', text, '\r\r\n'), 'fio')).toBe(text);
  });

  it('is missed with the end of the console, for people', () => {
    expect(() => resultText('Kernel panic', 'fio')).toThrow(CliError);
    expect(() => resultText('Kernel panic', 'fio')).toThrow(/the guest gave no fio[^]*Kernel panic/);
    expect(() => resultText('result fio begins\nAAAA\nresult fio ends', 'fio')).toThrow(/damaged/);
  });

  it('is read from fio: of a flush, the time of the flush', () => {
    const side = (iops: number, p50: number) => ({
      ...{ bw_bytes: iops * 4_096, iops, total_ios: iops, clat_ns: { max: 9e6, percentile: { '50.000000': p50 } } },
    });
    const idle = side(0, 0);
    const sync = { lat_ns: { max: 8e6, percentile: { '50.000000': 7_000, '99.000000': 70_000 } } };
    const jobs = [
      { jobname: 'random-read-4k', read: side(100, 5_000), write: idle, sync: { lat_ns: { max: 0 } } },
      { jobname: 'flush', read: idle, write: side(50, 1), sync },
    ];
    expect(fioFigures(`fio: a warning\n${JSON.stringify({ jobs })}`)).toEqual({
      'random-read-4k': { bytesPerSecond: 409_600, operationsPerSecond: 100, p50: 5, max: 9_000 },
      flush: { bytesPerSecond: 204_800, operationsPerSecond: 50, p50: 7, p99: 70, max: 8_000 },
    });
  });

  it('is read from iperf3: what arrived, not what was sent', () => {
    const tcp = { end: { sum_sent: { bits_per_second: 900 }, sum_received: { bits_per_second: 800 } } };
    expect(iperfFigure(JSON.stringify(tcp))).toEqual({ bytesPerSecond: 100 });
    const udp = { end: { sum: { bits_per_second: 1_600, lost_percent: 25, packets: 80, seconds: 2 } } };
    expect(iperfFigure(JSON.stringify(udp))).toEqual({ bytesPerSecond: 150, operationsPerSecond: 30, lostPercent: 25 });
    expect(() => iperfFigure('{"error":"unable to connect"}')).toThrow(/unable to connect/);
  });

  it('is read from ping', () => {
    const text = Array.from({ length: 100 }, (_, i) => `${(i + 1) / 1_000}\n`).join('');
    expect(pingFigure(text)).toEqual({ p50: 50, p99: 99, max: 100 });
    expect(() => pingFigure('\n')).toThrow(/no ping came back/);
  });
});

describe('a comparison', () => {
  it('is of medians, so that one bad round does not count', () => {
    expect(median([5, 1, 900])).toBe(5);
    expect(median([1, 2])).toBe(1.5);
    expect(median([])).toBeUndefined();
    const rounds = new Map([
      ['ours', [{ x: { p50: 10 } }, { x: { p50: 12 } }, { x: { p50: 900 } }]],
      ['theirs', [{ x: { p50: 24 } }, { x: { p50: 24, max: 1 } }, { x: { p50: 2 } }]],
    ]);
    expect(compare(rounds)).toEqual([
      { of: 'x', medians: { ours: { p50: 12 }, theirs: { p50: 24, max: 1 } }, ratio: { p50: 0.5 } },
    ]);
  });
});

describe('the contenders', () => {
  const files: BenchFiles = {
    ...{ vmm: '/v', run: '/r', qemu: '/q', roms: '/roms', kernel: '/k', initrd: '/i', tools: '/t', disk: '/d' },
  };
  const machine: GuestMachine = {
    ...{ vcpus: 2, memoryMiB: 300, cmdline: 'bench=io', disk: true, tap: 'tap0', lifetimeS: 9 },
  };

  it('get the same guest', () => {
    for (const contender of [VOLLEY, QEMU_MICROVM]) {
      const words = contender.argv(files, machine);
      for (const word of ['/k', '/i', '300', '2', 'bench=io console=ttyS0']) expect(words).toContain(word);
      for (const part of ['/t', '/d', 'tap0']) expect(words.join(' ')).toContain(part);
      const bare = contender.argv(files, { ...machine, disk: false, tap: undefined } as never).join(' ');
      expect(bare).not.toMatch(/\/d\b|tap0/);
    }
  });
});

describe('side by side', () => {
  const say = (name: string): Contender => ({ name, argv: () => ['printf', '%s\\n', `figure of ${name}`] });
  const stageOf = (play: Stage['play']): Stage => ({ ...thisMachine({} as BenchFiles, false), play });
  const options = (stage: Stage, progress: string[]) => ({
    ...{ stage, contenders: [say('a'), say('b')], rounds: 2, diskMiB: 0 },
    machine: { lifetimeS: 1 } as GuestMachine,
    read: (console: string) => ({
      it: { p50: console.includes('figure of a') ? 1 : console.includes('of b') ? 2 : 0 },
    }),
    progress: (text: string) => progress.push(text),
  });

  it('takes turns, and gives each what its own guests said', async () => {
    const order: string[] = [];
    const progress: string[] = [];
    const stage = stageOf(async (script, _deadlineMs, heard) => {
      const { stdout } = await import('node:child_process').then(({ spawnSync }) =>
        spawnSync('sh', ['-c', script], { encoding: 'utf8', timeout: 60_000 }),
      );
      order.push(...[...stdout.matchAll(/figure of (\w)/g)].map(([, name]) => name!));
      heard(stdout);
      return stdout;
    });
    const results = await sideBySide(options(stage, progress));
    expect(order).toEqual(['a', 'b', 'a', 'b']);
    expect(results).toEqual(
      new Map([
        ['a', [{ it: { p50: 1 } }, { it: { p50: 1 } }]],
        ['b', [{ it: { p50: 2 } }, { it: { p50: 2 } }]],
      ]),
    );
    expect(progress).toEqual(['a, round 1 of 2', 'b, round 1 of 2', 'a, round 2 of 2', 'b, round 2 of 2']);
  });
});

it('has a job of fio for each thing it names, one after the other', () => {
  for (const { name } of IO_JOBS) expect(FIO_JOBS).toContain(`[${name}]\n`);
  expect(FIO_JOBS).toContain('stonewall');
  expect(FIO_JOBS).toContain('runtime=${SECONDS_EACH}'); // eslint-disable-line no-template-curly-in-string
});
