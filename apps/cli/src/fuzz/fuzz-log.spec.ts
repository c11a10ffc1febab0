import { readFuzzLog } from './fuzz-log';

const PROGRESS = `INFO: Seed: 1
#12	INITED cov: 80 ft: 90 corp: 10/1Kb exec/s: 0 rss: 30Mb
#2048	pulse  cov: 97 ft: 120 corp: 14/2Kb lim: 4096 exec/s: 1024 rss: 31Mb
`;

it('reads the last line of progress', () => {
  const log = `${PROGRESS}#9000	DONE   cov: 101 ft: 130 corp: 15/2Kb lim: 4096 exec/s: 1800 rss: 31Mb
Done 9000 runs in 5 second(s)
stat::average_exec_per_sec:     1810
`;
  expect(readFuzzLog(log)).toEqual({ runs: 9000, runsPerSecond: 1810, coverage: 101, corpus: 15 });
});

it('names what was found, and the input that shows it', () => {
  const log = `${PROGRESS}FINDING: a disk is written outside of its bounds
==7== ERROR: libFuzzer: deadly signal
SUMMARY: libFuzzer: deadly signal
artifact_prefix='findings/'; Test unit written to findings/crash-1
`;
  expect(readFuzzLog(log)).toMatchObject({
    coverage: 97,
    finding: { what: 'a disk is written outside of its bounds', input: 'findings/crash-1' },
  });
});

it('takes the word of a sanitizer', () => {
  const asan =
    '==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x1\nSUMMARY: AddressSanitizer: heap-use-after-free a.cpp:1\n';
  expect(readFuzzLog(asan).finding).toEqual({ what: 'AddressSanitizer: heap-use-after-free a.cpp:1' });
  const ubsan = 'a.cpp:2:3: runtime error: index 4 out of bounds\nSUMMARY: UndefinedBehaviorSanitizer: x\n';
  expect(readFuzzLog(ubsan).finding?.what).toBe('index 4 out of bounds');
});

it('has nothing to say of a log without progress', () => {
  expect(readFuzzLog('')).toEqual({ runs: 0, runsPerSecond: 0, coverage: 0, corpus: 0 });
});
