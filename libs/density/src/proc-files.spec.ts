import { parseHostCpu, parsePressure, parseProcessStat, parseSchedstat, parseSmaps, parseStatus } from './proc-files';

const SMAPS = `00400000-00420000 r-xp 00000000 fe:00 1234   /usr/lib/volley-vmm
Size:                128 kB
Rss:                  90 kB
Pss:                  40 kB
Pss_Dirty:             0 kB
Private_Clean:         8 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
7f0000000000-7f0000200000 rw-p 00000000 00:00 0 
Rss:                 100 kB
Pss:                 100 kB
Private_Clean:         0 kB
Private_Dirty:       100 kB
Anonymous:           100 kB
Swap:                 12 kB
7f0000200000-7f0001000000 rw-p 00000000 00:01 77   /memfd:template (deleted)
Rss:                  80 kB
Pss:                  30 kB
Private_Dirty:        20 kB
Anonymous:            20 kB
7f0001000000-7f0001010000 rw-s 00000000 00:19 9    /dev/shm/pages
Rss:                   6 kB
Pss:                   6 kB
Private_Dirty:         6 kB
`;

describe('smaps', () => {
  it('tells guest pages from pages of the VMM, also when guest memory is split, and copies from pages that are shared', () => {
    expect(parseSmaps(SMAPS, 0x7f0000000000n, 0x1000000)).toEqual({
      ...{ residentKiB: 276, proportionalKiB: 176, privateKiB: 134, anonymousKiB: 120, swapKiB: 12 },
      ...{ guestResidentKiB: 180, guestProportionalKiB: 130, guestPrivateKiB: 120, guestAnonymousKiB: 120 },
      ...{ guestShmemKiB: 10, vmmShmemKiB: 6 },
    });
  });

  it('counts everything as the VMM before guest memory is known', () => {
    expect(parseSmaps(SMAPS, 0n, 0)).toMatchObject({ guestPrivateKiB: 0, guestShmemKiB: 0, vmmShmemKiB: 16 });
  });
});

it('reads status, and knows a process without memory', () => {
  const text =
    'Name:\tvmm\nVmPeak:\t 9 kB\nRssAnon:\t      80 kB\nRssFile:\t 224 kB\nRssShmem:\t 12 kB\nVmPTE:\t 28 kB\nThreads:\t3\n';
  expect(parseStatus(text)).toEqual({ anonymousKiB: 80, fileKiB: 224, shmemKiB: 12, pageTablesKiB: 28, threads: 3 });
  expect(parseStatus('Name:\tkthreadd\nThreads:\t1\n')).toBeUndefined();
});

it('reads the CPU time of the host, guests once', () => {
  expect(parseHostCpu('cpu  100 10 40 500 5 3 4 7 60 1\ncpu0 1 1 1 1\n')).toEqual({
    ...{ busyMs: 1_500, idleMs: 5_000, waitingForIoMs: 50, interruptMs: 70, stolenMs: 70 },
  });
  expect(() => parseHostCpu('')).toThrow(RangeError);
});

describe('stat', () => {
  it('reads a process whose name holds spaces and parentheses', () => {
    const text =
      '42 (a) b (c)) S 1 2 3 0 -1 4194304 99 0 0 0 150 50 30 10 20 0 3 0 129777 3133440 408 18446744073709551615' +
      ' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 40 0';
    expect(parseProcessStat(text)).toEqual({
      ...{ command: 'a) b (c)', state: 'S', startTicks: '129777' },
      ...{ cpuMs: 2000, guestMs: 400, childrenMs: 400 },
    });
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
