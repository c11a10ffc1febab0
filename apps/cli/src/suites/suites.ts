import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fuzzSuite } from '../fuzz/fuzz-suite';
import { runProgram } from './run-program';
import type { Suite, SuiteOutcome } from './suite';
import { jestTally, junitTally, NOTHING, type JestReport } from './tally';

const MINUTE_MS = 60_000;

/** Every suite of this checkout, in the order in which they run: cheap ones first. */
export function suitesOf(root: string): Suite[] {
  const run = (command: string, args: string[], deadlineMs: number, env?: Record<string, string>) =>
    runProgram({ command, args, cwd: root, deadlineMs, ...(env ? { env } : {}) });

  /** A check that passes or not: it counts as one test. */
  const check = async (name: string, command: string, args: string[]): Promise<SuiteOutcome> => {
    const outcome = await run(command, args, 10 * MINUTE_MS);
    if (outcome === 0) return { tally: { ...NOTHING, passed: 1 }, files: [], notes: [] };
    return {
      tally: { ...NOTHING, failed: 1 },
      files: [],
      notes: [`${name} failed: ${typeof outcome === 'number' ? `exit code ${outcome}` : outcome}`],
    };
  };
  const skipped = (reason: string): SuiteOutcome => ({
    tally: { ...NOTHING, skipped: 1 },
    files: [],
    notes: [`skipped: ${reason}`],
  });
  const program = (name: string): string | undefined =>
    (process.env['PATH'] ?? '')
      .split(':')
      .map((folder) => join(folder, name))
      .find(existsSync);
  const node = (script: string, args: string[]) => [join(root, 'node_modules', script), ...args];

  const jest = async (paths: string[], workers: string[]): Promise<SuiteOutcome> => {
    const folder = mkdtempSync(join(tmpdir(), 'volley-test-'));
    try {
      const report = join(folder, 'report.json');
      const args = node('jest/bin/jest.js', [
        '--json',
        `--outputFile=${report}`,
        '--passWithNoTests',
        ...workers,
        ...paths,
      ]);
      // Jest writes its report to stdout as well when it has no file; with one, people see the usual lines.
      const outcome = await run(process.execPath, args, 30 * MINUTE_MS, { NODE_ENV: 'test' });
      if (!existsSync(report))
        return { tally: { ...NOTHING, failed: 1 }, files: [], notes: [`jest gave no report: ${outcome}`] };
      return fromJest(JSON.parse(readFileSync(report, 'utf8')) as JestReport, outcome, root);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
  const ctest = async (preset: string, build: string): Promise<SuiteOutcome> => {
    const ctestProgram = program('ctest');
    if (ctestProgram === undefined) return skipped('ctest is not installed (Debian package cmake)');
    const folder = mkdtempSync(join(tmpdir(), 'volley-test-'));
    try {
      const report = join(folder, 'report.xml');
      const outcome = await run(
        ctestProgram,
        ['--test-dir', build, '--output-on-failure', '--no-tests=ignore', '--output-junit', report],
        10 * MINUTE_MS,
      );
      const tally = existsSync(report) ? junitTally(readFileSync(report, 'utf8')) : undefined;
      if (tally === undefined)
        return outcome === 0
          ? skipped(`no C++ tests in ${build}`)
          : { tally: { ...NOTHING, failed: 1 }, files: [], notes: [`ctest (${preset}) gave no report: ${outcome}`] };
      const honest = outcome !== 0 && tally.failed === 0 ? { ...tally, failed: 1 } : tally;
      return { tally: honest, files: [], notes: [] };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };

  const twoAtOnce = [`--maxWorkers=${Math.min(2, cpus().length)}`];
  const suites: Suite[] = [
    {
      name: 'lint',
      summary: 'ESLint, with the dependency rules of the house',
      run: () => check('eslint', process.execPath, node('eslint/bin/eslint.js', ['.', '--max-warnings', '0'])),
    },
    {
      name: 'format',
      summary: 'Prettier',
      run: () =>
        check('prettier', process.execPath, node('prettier/bin/prettier.cjs', ['--check', '--log-level', 'warn', '.'])),
    },
    {
      name: 'clang-format',
      summary: 'clang-format of the C++ sources',
      run: async () => {
        const clangFormat = program('clang-format');
        if (clangFormat === undefined) return skipped('clang-format is not installed (Debian package clang-format)');
        return check('clang-format', clangFormat, ['--dry-run', '--Werror', ...cppFiles(join(root, 'native'))]);
      },
    },
    {
      name: 'types',
      summary: 'the TypeScript compiler',
      run: () => check('tsc', process.execPath, node('typescript/bin/tsc', ['--noEmit'])),
    },
    { name: 'native', summary: 'C++ tests under CTest', run: () => ctest('release', join(root, 'native', 'build')) },
    {
      name: 'sanitize',
      summary: 'the same C++ tests, built with AddressSanitizer and UndefinedBehaviorSanitizer',
      run: async () => {
        const cmake = program('cmake');
        if (cmake === undefined) return skipped('cmake is not installed (Debian package cmake)');
        const build = join(root, 'native', 'build-sanitize');
        for (const args of [
          [
            '-S',
            join(root, 'native'),
            '-B',
            build,
            '-G',
            'Ninja',
            '-DCMAKE_BUILD_TYPE=Debug',
            '-DVOLLEY_SANITIZE=ON',
            '-DVOLLEY_TESTS=ON',
          ],
          ['--build', build],
        ]) {
          const outcome = await run(cmake, args, 30 * MINUTE_MS);
          if (outcome !== 0)
            return {
              tally: { ...NOTHING, failed: 1 },
              files: [],
              notes: [`the build with sanitizers failed: ${outcome}`],
            };
        }
        return ctest('sanitize', build);
      },
    },
    {
      name: 'fuzz',
      summary: 'every fuzzer for a few seconds, from the committed inputs (./volley fuzz runs them for long)',
      run: () => fuzzSuite(root),
    },
    {
      name: 'unit',
      summary: 'tests beside the code of libs and apps',
      run: () => jest([join(root, 'libs'), join(root, 'apps')], twoAtOnce),
    },
  ];
  // Tests of the whole system use the machine as a whole, so one after the other; an emulated host has one processor.
  for (const name of wholeSystemSuites(root)) {
    const workers = name === 'emulated' ? twoAtOnce : ['--runInBand'];
    suites.push({ name, summary: `test/${name}`, run: () => jest([join(root, 'test', name)], workers) });
  }
  return suites;
}

/** Folders of test/ with specs in them; chaos last, since it is the longest. */
function wholeSystemSuites(root: string): string[] {
  const folder = join(root, 'test');
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder, { withFileTypes: true })
    .filter(
      (entry) => entry.isDirectory() && filesIn(join(folder, entry.name)).some((file) => file.endsWith('.spec.ts')),
    )
    .map(({ name }) => name);
  return names.sort((a, b) => Number(a === 'chaos') - Number(b === 'chaos') || a.localeCompare(b));
}

/** Not the contract in abi, whose comments stand in columns, and not what the build system brings. */
function cppFiles(folder: string): string[] {
  return filesIn(folder, (name) => !name.startsWith('build') && name !== 'abi' && name !== 'cmake').filter((file) =>
    /\.(cpp|h)$/.test(file),
  );
}

function filesIn(folder: string, enter: (name: string) => boolean = () => true): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return enter(entry.name) ? filesIn(path, enter) : [];
    return [path];
  });
}

function fromJest(report: JestReport, outcome: number | string, root: string): SuiteOutcome {
  const tally = jestTally(report);
  const notes: string[] = [];
  if (outcome !== 0 && tally.failed === 0) {
    tally.failed = 1;
    notes.push(`jest ended with ${outcome} although no test failed`);
  }
  const files = report.testResults.map(({ name, startTime, endTime, assertionResults, status }) => {
    const of = (...wanted: string[]): number => assertionResults.filter((one) => wanted.includes(one.status)).length;
    const failed = of('failed') || (status === 'failed' && assertionResults.length === 0 ? 1 : 0);
    return {
      name: relative(root, name),
      tally: { passed: of('passed'), failed, skipped: of('pending', 'todo', 'skipped', 'disabled') },
      ms: endTime - startTime,
    };
  });
  return { tally, files, notes };
}
