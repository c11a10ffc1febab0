import { Option } from 'commander';
import { VmmChoice } from '#protocol';

/** `--vmm`: what host agents on this machine start for a microVM. */
export function vmmOption(): Option {
  return new Option(
    '--vmm <which>',
    'what runs as a microVM on this machine: a VMM, or a stand-in for it without KVM and guest, for tests',
  )
    .choices(VmmChoice.options)
    .default('kvm')
    .env('VOLLEY_VMM');
}
