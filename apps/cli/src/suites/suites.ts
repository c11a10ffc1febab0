import { existsSync, readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, join } from 'node:path';
import { findProgram } from '#emulated-host';
import { fuzzSuite } from '../fuzz/fuzz-suite';
import { hasKvm, runOnEmulatedKvm } from './kvm-suite';
import { runProgram } from './run-program';
import { runCtest, runJest } from './runners';
import { failed, passed, skipped, together, type Suite, type SuiteOutcome } from './suite';

const MINUTE_MS = 60_000;
/** Specs of test/e2e that measure the machine, or load it as far as it goes: nothing runs beside them. */
const ALONE = ['density', 'mass-start', 'whatif'].map((name) => `${name}.spec.ts`);

/** Every suite of this checkout, in the order in which they run: cheap ones first. */
export function suitesOf(root: string): Suite[] {
  const run = (command: string, args: string[], deadlineMs: number, env?: Record<string, string>) =>
    runProgram({ command, args, cwd: root, deadlineMs, ...(env ? { env } : {}) });

  /** A check that passes or not: it counts as one test. */
  const check = async (name: string, command: string, args: string[]): Promise<SuiteOutcome> => {
    const outcome = await run(command, args, 10 * MINUTE_MS);
    return outcome === 0 ? passed() : failed(name, typeof outcome === 'number' ? `exit code ${outcome}` : outcome);
  };
  const node = (script: string, args: string[]) => [join(root, 'node_modules', script), ...args];

  const twoAtOnce = [`--maxWorkers=${Math.min(2, cpus().length)}`];
  const suites: Suite[] = [
    {
      name: 'lint',
      summary: 'ESLint, with the dependency rules of the house',
      singleThreaded: true,
      run: () => check('eslint', process.execPath, node('eslint/bin/eslint.js', ['.', '--max-warnings', '0'])),
    },
    {
      name: 'format',
      summary: 'Prettier',
      singleThreaded: true,
      run: () =>
        check('prettier', process.execPath, node('prettier/bin/prettier.cjs', ['--check', '--log-level', 'warn', '.'])),
    },
    {
      name: 'clang-format',
      summary: 'clang-format of the C++ sources',
      singleThreaded: true,
      run: async () => {
        const clangFormat = findProgram('clang-format');
        if (clangFormat === undefined) return skipped('clang-format is not installed (Debian package clang-format)');
        return check('clang-format', clangFormat, ['--dry-run', '--Werror', ...cppFiles(join(root, 'native'))]);
      },
    },
    {
      name: 'types',
      summary: 'the TypeScript compiler',
      singleThreaded: true,
      run: () => check('tsc', process.execPath, node('typescript/bin/tsc', ['--noEmit'])),
    },
    { name: 'native', summary: 'C++ tests under CTest', run: () => runCtest(root, join(root, 'native', 'build')) },
    {
      name: 'sanitize',
      summary: 'the same C++ tests, built with AddressSanitizer and UndefinedBehaviorSanitizer',
      run: async () => {
        const cmake = findProgram('cmake');
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
          if (outcome !== 0) return failed('the build with sanitizers', `${outcome}`);
        }
        return runCtest(root, build);
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
      run: () => runJest(root, [join(root, 'libs'), join(root, 'apps')], twoAtOnce),
    },
  ];
  // Of what waits most of the time, more at once than there are processors; an emulated host keeps one busy.
  const workers = { e2e: ['--maxWorkers=3'], emulated: twoAtOnce, chaos: twoAtOnce };
  for (const name of wholeSystemSuites(root)) {
    const specs = filesIn(join(root, 'test', name)).filter(isSpec);
    const alone = specs.filter((file) => name === 'e2e' && ALONE.includes(basename(file)));
    suites.push({
      name,
      summary: `test/${name}`,
      run: async () => {
        const rest = specs.filter((file) => !alone.includes(file));
        const first = await runJest(root, rest, workers[name as keyof typeof workers] ?? ['--runInBand']);
        return alone.length === 0 ? first : together(first, await runJest(root, alone, ['--runInBand']));
      },
    });
  }
  suites.push({
    name: 'kvm',
    summary: 'the tests that need /dev/kvm, on an emulated host that has one',
    onRequest: hasKvm(),
    run: () => runOnEmulatedKvm(root, specsIn(join(root, 'libs'), join(root, 'apps'))),
  });
  return suites;
}

function specsIn(...folders: string[]): string[] {
  return folders.flatMap((folder) => filesIn(folder, (name) => name !== 'node_modules')).filter(isSpec);
}

function isSpec(file: string): boolean {
  return file.endsWith('.spec.ts');
}

/** Folders of test/ with specs in them; chaos last, since it is the longest. */
function wholeSystemSuites(root: string): string[] {
  const folder = join(root, 'test');
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && filesIn(join(folder, entry.name)).some(isSpec))
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
