import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram } from '../suites/run-program';

const BUILD_DEADLINE_MS = 30 * 60_000;
const PROBE_DEADLINE_MS = 60_000;
const PROBE = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n';

export const fuzzBuildFolder = (root: string): string => join(root, 'native', 'build-fuzz');

/** One for each `native/fuzz/NAME_fuzz.cpp`. */
export function fuzzTargets(root: string): string[] {
  const folder = join(root, 'native', 'fuzz');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith('_fuzz.cpp'))
    .map((file) => file.slice(0, -'_fuzz.cpp'.length))
    .sort();
}

/** Why there can be no fuzzers on this machine; undefined when there can. */
export function whyNoFuzzers(): string | undefined {
  for (const [tool, debianPackage] of [
    ['cmake', 'cmake'],
    ['ninja', 'ninja-build'],
    ['clang++', 'clang'],
  ] as const) {
    if (spawnSync(tool, ['--version'], { env: process.env, stdio: 'ignore' }).status !== 0)
      return `${tool} is not installed (Debian package ${debianPackage})`;
  }
  // Asked by linking: where the runtime lies differs, and so does its name.
  const linked = spawnSync(
    'clang++',
    ['-fsanitize=fuzzer,address,undefined', '-fsanitize-coverage=trace-loads', '-x', 'c++', '-', '-o', '/dev/null'],
    {
      env: process.env,
      input: PROBE,
      stdio: ['pipe', 'ignore', 'ignore'],
      timeout: PROBE_DEADLINE_MS,
    },
  );
  return linked.status === 0
    ? undefined
    : 'clang has no fuzzer runtime, or is older than version 14 (Debian package libclang-rt-14-dev)';
}

/** Brings the fuzzers up to date. Resolves with 0, or with what went wrong. */
export async function buildFuzzers(root: string): Promise<number | string> {
  const cwd = join(root, 'native');
  const cmake = (args: string[]) => runProgram({ command: 'cmake', args, cwd, deadlineMs: BUILD_DEADLINE_MS });
  const configured = await cmake(['--preset', 'fuzz', '-S', cwd]);
  return configured === 0 ? cmake(['--build', fuzzBuildFolder(root), '--target', 'fuzzers']) : configured;
}
