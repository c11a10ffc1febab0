import type { VmmChoice } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import type { HostView } from './host-view';
import { kvmAccess } from './kvm-access';

/** @throws CliError where microVMs are to be VMMs on KVM and there is none. */
export function requireVmm(vmm: VmmChoice, host: HostView): void {
  if (vmm === 'stand-in') return;
  const kvm = kvmAccess(host);
  if (!kvm.usable)
    throw new CliError(
      `VMMs cannot run here: ${kvm.why}. ` +
        'With --vmm stand-in the control plane, the agents and the jail are there all the same, but not the VMM and guests.',
      ExitCode.usage,
    );
}
