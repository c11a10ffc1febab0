import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fuzzTargets, whyNoFuzzers } from './fuzz-build';
import { runFuzzers, toldOutcome } from './fuzz-run';

/** Programs that behave as fuzzers do, without a compiler. */
let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'volley-fuzz-spec-'))));
afterEach(() => rmSync(root, { recursive: true, force: true }));

const PROGRESS = 'printf "#%s\\tDONE   cov: 7 ft: 9 corp: 3/1Kb exec/s: 50 rss: 1Mb\\n" 100';

function fuzzer(name: string, script: string): void {
  for (const folder of ['build-fuzz/fuzz', `fuzz/seeds/${name}`])
    mkdirSync(join(root, 'native', folder), { recursive: true });
  writeFileSync(join(root, 'native/fuzz', `${name}_fuzz.cpp`), '');
  const program = join(root, 'native/build-fuzz/fuzz', `fuzz-${name}`);
  writeFileSync(program, `#!/bin/sh\n${script}\n`);
  chmodSync(program, 0o755);
}
const run = (target: string) =>
  runFuzzers(
    [{ root, target, seconds: 1, corpus: join(root, 'corpus', target), logs: join(root, 'logs') }],
    2,
    () => undefined,
  );
const findingsOf = (target: string): string => join(root, 'native/build-fuzz/findings', target);

it('replays what is committed, then looks for new inputs', async () => {
  fuzzer('good', `echo "$@" >>${root}/calls; ${PROGRESS}`);
  const [outcome] = await run('good');
  expect(outcome).toMatchObject({ target: 'good', runs: 100, coverage: 7, corpus: 3 });
  expect(outcome!.finding).toBeUndefined();
  expect(fuzzTargets(root)).toEqual(['good']);
  expect(existsSync(join(root, 'corpus/good'))).toBe(true);
});

it('tells of a crash and of the input that shows it again', async () => {
  fuzzer(
    'bad',
    `${PROGRESS}; echo "FINDING: a guest got out"; echo "Test unit written to ${findingsOf('bad')}/crash-1"; exit 77`,
  );
  const [outcome] = await run('bad');
  expect(toldOutcome(outcome!)).toContain('FINDING: a guest got out');
  expect(toldOutcome(outcome!)).toContain(`fuzz-bad ${findingsOf('bad')}/crash-1`);
});

it('takes every end but a good one for a finding', async () => {
  fuzzer('silent', 'exit 3');
  expect((await run('silent'))[0]!.finding).toEqual({ what: 'it ended with 3' });
  expect((await run('absent'))[0]!.finding?.what).toMatch(/could not be started/);
});

it('goes on after an input that only once took too long', async () => {
  // Late the first time it is let loose, and in order when the input is tried again.
  fuzzer(
    'stalled',
    `case "$*" in *max_total_time*) [ -e ${root}/late ] || { touch ${root}/late ${findingsOf('stalled')}/timeout-ab; ` +
      `echo "SUMMARY: libFuzzer: timeout"; echo "Test unit written to ${findingsOf('stalled')}/timeout-ab"; exit 70; };; esac; ${PROGRESS}`,
  );
  expect((await run('stalled'))[0]!.finding).toBeUndefined();
  expect(existsSync(join(findingsOf('stalled'), 'timeout-ab'))).toBe(false);
});

it('names what must be installed', () => {
  const path = process.env['PATH'];
  process.env['PATH'] = root;
  try {
    expect(whyNoFuzzers()).toMatch(/Debian package/);
  } finally {
    process.env['PATH'] = path;
  }
});
