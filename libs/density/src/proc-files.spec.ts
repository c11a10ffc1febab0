import { parseMeminfo, parsePressure, parseProcessStat, parseSchedstat, parseSmaps } from './proc-files';

const SMAPS = `00400000-00420000 r-xp 00000000 fe:00 1234 /usr/lib/volley-vmm
Size:                128 kB
Pss:                  40 kB
Pss_Dirty:             0 kB
Private_Clean:         8 kB
Private_Dirty:         0 kB
VmFlags: rd ex mr mw me
7f0000000000-7f0000200000 rw-p 00000000 00:00 0
Pss:                 100 kB
Private_Clean:         0 kB
Private_Dirty:       100 kB
7f0000200000-7f0001000000 rw-p 00000000 00:00 0
Pss:                  20 kB
Private_Dirty:        20 kB
7f0001000000-7f0001010000 rw-s 00000000 00:19 9 /dev/shm/pages
Pss:                   6 kB
Private_Dirty:         0 kB
`;

describe('smaps', () => {
  it('tells guest pages from pages of the VMM, also when guest memory is split', () => {
    expect(parseSmaps(SMAPS, 0x7f0000000000n, 0x1000000)).toEqual({
      proportionalKiB: 166,
      privateKiB: 128,
      guestPrivateKiB: 120,
    });
  });

  it('counts everything as the VMM before guest memory is known', () => {
    expect(parseSmaps(SMAPS, 0n, 0).guestPrivateKiB).toBe(0);
  });
});

describe('stat', () => {
  it('reads a process whose name holds spaces and parentheses', () => {
    const text =
      '42 (a) b (c)) S 1 2 3 0 -1 4194304 99 0 0 0 150 50 0 0 20 0 3 0 129777 3133440 408 18446744073709551615';
    expect(parseProcessStat(text)).toEqual({ command: 'a) b (c)', state: 'S', cpuMs: 2000, startTicks: '129777' });
  });

  it('refuses what is no stat', () => {
    expect(parseProcessStat('')).toBeUndefined();
    expect(parseProcessStat('1 (x) S 2')).toBeUndefined();
  });
});

it('reads schedstat', () => {
  expect(parseSchedstat('1000 250 7\n')).toEqual({ runNs: 1000, delayNs: 250 });
  expect(parseSchedstat('')).toBeUndefined();
});

it('reads pressure, with and without its full line', () => {
  expect(
    parsePressure('some avg10=1.50 avg60=0.20 avg300=0.67 total=22\nfull avg10=0.25 avg60=0 avg300=0 total=0'),
  ).toEqual({
    some: 1.5,
    full: 0.25,
  });
  expect(parsePressure('some avg10=0.00 avg60=0.20 avg300=0.67 total=22')).toEqual({ some: 0, full: null });
  expect(parsePressure('')).toBeNull();
});

it('reads meminfo', () => {
  expect(parseMeminfo('MemTotal:       24683520 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n')).toEqual({
    totalKiB: 24_683_520,
    availableKiB: 20_000_000,
  });
  expect(() => parseMeminfo('')).toThrow(RangeError);
});
