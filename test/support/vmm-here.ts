import type { VmmChoice } from '#protocol';
import { kvmMissing, notBuilt } from './kvm';
import { describeUnless } from './skip-aloud';

/**
 * `describe` for tests of what is around VMMs, which run anywhere: with VMMs where there is KVM, else with stand-ins, and says so aloud.
 * Those of its tests that need a guest are `itWithKvm`.
 */
export function describeWithAnyVmm(title: string, body: (vmm: VmmChoice) => void): void {
  const noKvm = kvmMissing();
  if (noKvm === undefined) return describe(title, () => body('kvm'));
  const told = `${title} (with stand-ins for VMMs, since ${noKvm})`;
  const obstacle = notBuilt(['standIn', 'canary', 'binding']);
  if (obstacle === undefined) process.stderr.write(`WITHOUT GUESTS: ${told}\n`);
  describeUnless(obstacle, told, () => body('stand-in'));
}
