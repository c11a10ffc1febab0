import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '#emulated-host';
import { jestOutcome, type JestReport } from './jest-report';
import { junitOutcome } from './junit-report';
import { runProgram } from './run-program';
import { failed, skipped, type SuiteOutcome } from './suite';

const MINUTE_MS = 60_000;

/** Words before a command that have it run somewhere else, where what it writes into `folder` is written here. */
export type Elsewhere = (folder: string) => string[];

const HERE: Elsewhere = () => [];

/** Runs spec files, or those in folders. */
export async function runJest(
  root: string,
  paths: string[],
  workers: string[],
  where: Elsewhere = HERE,
): Promise<SuiteOutcome> {
  return withFolder(async (folder) => {
    const report = join(folder, 'report.json');
    // Jest writes its report to stdout as well when it has no file; with one, people see the usual lines.
    const jest = [join(root, 'node_modules/jest/bin/jest.js'), '--json', `--outputFile=${report}`, '--passWithNoTests'];
    const words = [...where(folder), process.execPath, ...jest, ...workers, ...paths];
    const outcome = await run(root, words, 40 * MINUTE_MS, { NODE_ENV: 'test' });
    if (!existsSync(report)) return failed('jest', `it gave no report: ${outcome}`);
    return jestOutcome(JSON.parse(readFileSync(report, 'utf8')) as JestReport, outcome, root);
  });
}

/** Runs the C++ tests of a build folder; `more`: words for ctest, such as which of them. */
export async function runCtest(
  root: string,
  build: string,
  more: string[] = ['--parallel', `${cpus().length}`],
  where: Elsewhere = HERE,
): Promise<SuiteOutcome> {
  const ctest = findProgram('ctest');
  if (ctest === undefined) return skipped('ctest is not installed (Debian package cmake)');
  return withFolder(async (folder) => {
    const report = join(folder, 'report.xml');
    const usual = ['--test-dir', build, '--output-on-failure', '--no-tests=ignore', '--output-junit', report];
    const outcome = await run(root, [...where(folder), ctest, ...usual, ...more], 20 * MINUTE_MS);
    const told = existsSync(report) ? junitOutcome(readFileSync(report, 'utf8'), outcome) : undefined;
    if (told !== undefined) return told;
    return outcome === 0 ? skipped(`no C++ tests in ${build}`) : failed('ctest', `it gave no report: ${outcome}`);
  });
}

function run(cwd: string, words: string[], deadlineMs: number, env?: Record<string, string>): Promise<number | string> {
  return runProgram({ command: words[0]!, args: words.slice(1), cwd, deadlineMs, ...(env ? { env } : {}) });
}

async function withFolder(work: (folder: string) => Promise<SuiteOutcome>): Promise<SuiteOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'volley-test-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
