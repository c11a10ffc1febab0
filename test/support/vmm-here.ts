import type { VmmChoice } from '#protocol';
import { kvmMissing, notBuilt } from './kvm';
import { natsServerMissing } from './nats-server';
import { describeUnless } from './skip-aloud';

/** What runs as a microVM in tests to which it does not matter whether there is a guest in it. */
export const VMM_HERE: VmmChoice = kvmMissing() === undefined ? 'kvm' : 'stand-in';

/**
 * `describe` for tests of fleets, to which it does not matter whether there is a guest in a microVM: with VMMs where there is KVM, else with
 * stand-ins, and says so aloud. Those of its tests that need a guest are `itWithKvm`. `missing`: what else they need and this machine does not have.
 */
export function describeWithAnyVmm(title: string, body: (vmm: VmmChoice) => void, missing?: string): void {
  const isKvm = VMM_HERE === 'kvm';
  const told = isKvm ? title : `${title} (with stand-ins for VMMs, since ${kvmMissing()})`;
  const obstacle = missing ?? natsServerMissing() ?? (isKvm ? undefined : notBuilt(['standIn', 'canary', 'binding']));
  if (obstacle === undefined && !isKvm) process.stderr.write(`WITHOUT GUESTS: ${told}\n`);
  describeUnless(obstacle, told, () => body(VMM_HERE));
}
