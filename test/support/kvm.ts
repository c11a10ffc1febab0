import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeUnless, itUnless } from './skip-aloud';

const root = join(__dirname, '..', '..');

/** Where the native build leaves what tests need (`npm run build:native`). */
export const artefacts = {
  vmm: join(root, 'native/build/vmm/volley-vmm'),
  canary: join(root, 'native/build/guest/canary.bin'),
  /** The canary with drivers for every device. */
  canaryDevices: join(root, 'native/build/guest/canary-devices.bin'),
  /** `VOLLEY_TEST_BINDING`: another build of it, such as the sanitized one (docs in native/binding/README.md). */
  binding: process.env['VOLLEY_TEST_BINDING'] ?? join(root, 'native/build/binding/volley.node'),
  /** Speaks the contract between agent and VMM without KVM, and misbehaves on request; see native/binding/test. */
  fakeVmm: join(root, 'native/build/binding/fake-vmm'),
  /** Stands in for the VMM where no guest is needed; see native/stand-in. */
  standIn: join(root, 'native/build/stand-in/volley-vmm-stand-in'),
};

/** Why tests that need these cannot run here, or undefined when they can. */
export function notBuilt(needed: (keyof typeof artefacts)[]): string | undefined {
  const unbuilt = needed.filter((name) => !existsSync(artefacts[name]));
  return unbuilt.length > 0 ? `${unbuilt.join(', ')} not built (npm run build:native)` : undefined;
}

/** Why tests that launch VMMs cannot run here, or undefined when they can. */
export function kvmMissing(needed: (keyof typeof artefacts)[] = ['vmm', 'canary', 'binding']): string | undefined {
  const unbuilt = notBuilt(needed);
  if (unbuilt !== undefined) return unbuilt;
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return `/dev/kvm cannot be used: ${(error as NodeJS.ErrnoException).code}`;
  }
}

/** `describe`, or a skipped one that says aloud why. */
export function describeWithKvm(title: string, body: () => void, needed?: (keyof typeof artefacts)[]): void {
  describeUnless(kvmMissing(needed), title, body);
}

/** `it`, or a skipped one that says aloud why. */
export function itWithKvm(title: string, body: () => Promise<void>, timeoutMs?: number): void {
  itUnless(kvmMissing(), title, body, timeoutMs);
}

/** A fresh directory on tmpfs, where page files belong; `remove` deletes it with all it holds. */
export function makeTmpfsDirectory(prefix = 'volley-test-'): { path: string; remove(): void } {
  const path = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), prefix));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
