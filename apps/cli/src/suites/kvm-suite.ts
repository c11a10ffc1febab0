import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fetchEmulatedHostTools } from '#emulated-host';
import { runCtest, runJest, type Elsewhere } from './runners';
import { skipped, together, type SuiteOutcome } from './suite';

/** C++ tests that start VMMs, and the one that asks for rights that root lacks on some machines. */
const CPP = ['--tests-regex', '^(vmm\\.it\\.|binding_spawn$)', '--timeout', '1200'];
/** What a spec asks for when it needs a KVM. */
const ASKS = /\b(?:describeWithKvm|itWithKvm|kvmMissing)\(/;
/** On a host that is 10 to 20 times slower. */
const PATIENCE = '38m';

export function hasKvm(): boolean {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Those of the spec files that skip tests where there is no KVM; without whole agents, which take minutes to start there. */
export function specsForKvm(specs: readonly string[]): string[] {
  return specs.filter((file) => !file.endsWith('.integration.spec.ts') && ASKS.test(readFileSync(file, 'utf8')));
}

/**
 * The tests that the other suites skip where there is no `/dev/kvm`, on an emulated host that has one: C++ tests on one, specs on another, since each
 * keeps one processor busy. Where there is a `/dev/kvm`, they meet another kind of KVM there.
 */
export async function runOnEmulatedKvm(root: string, specs: readonly string[]): Promise<SuiteOutcome> {
  const found = await fetchEmulatedHostTools(join(root, '.volley/cache/kernels'), 'generic');
  if (!found.available) return skipped(found.reason);
  const cli = join(root, 'dist/apps/cli/src/main.js');
  const emulated: Elsewhere = (folder) => [
    ...[process.execPath, cli, 'emulate', '--memory', '8G', '--timeout', PATIENCE],
    ...['--share', folder, '--env', 'NODE_ENV=test', '--'],
  ];
  return together(
    ...(await Promise.all([
      runCtest(root, join(root, 'native/build'), CPP, emulated),
      runJest(root, specsForKvm(specs), ['--runInBand'], emulated),
    ])),
  );
}
