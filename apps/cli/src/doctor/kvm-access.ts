import type { HostView } from './host-view';

export type KvmAccess =
  { usable: true; kind: 'hardware' | 'software'; module: string } | { usable: false; why: string; todo: string };

/**
 * Whether this user can make microVMs here, of which kind, and if not, why and what to do. Hardware KVM needs the CPU flag vmx or
 * svm; the page-table based `kvm_pvm` needs neither.
 */
export function kvmAccess(host: HostView): KvmAccess {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(host.read('/proc/cpuinfo') ?? '')?.[1]?.split(' ') ?? []);
  const modules = new Set(host.list('/sys/module').filter((name) => name.startsWith('kvm')));
  const extension = flags.has('vmx') ? 'vmx' : flags.has('svm') ? 'svm' : undefined;
  const access = host.access('/dev/kvm');
  if (access === 'ok') {
    if (modules.has('kvm_pvm')) return { usable: true, kind: 'software', module: 'kvm_pvm' };
    const module = extension === 'svm' ? 'kvm_amd' : extension === 'vmx' ? 'kvm_intel' : 'kvm';
    return extension ? { usable: true, kind: 'hardware', module } : { usable: true, kind: 'software', module };
  }
  if (access === 'denied') {
    return {
      usable: false,
      why: 'this user may not open /dev/kvm',
      todo: 'give it the right with: sudo usermod -aG kvm "$USER", then log in again (or run as root)',
    };
  }
  if (extension !== undefined) {
    const module = extension === 'vmx' ? 'kvm_intel' : 'kvm_amd';
    return modules.has(module)
      ? {
          usable: false,
          why: `the module ${module} is loaded, but there is no /dev/kvm`,
          todo: 'in a container, pass it in with: --device /dev/kvm',
        }
      : {
          usable: false,
          why: `there is no /dev/kvm, and the module ${module} is not loaded`,
          todo: `load it with: sudo modprobe ${module}; if it refuses, virtualisation is switched off in the firmware; in a container, pass --device /dev/kvm`,
        };
  }
  return flags.has('hypervisor')
    ? {
        usable: false,
        why: 'there is no /dev/kvm: this is a virtual machine without nested virtualisation (no CPU flag vmx or svm)',
        todo: 'switch nested virtualisation on where this machine is defined, choose a machine type that has it, use a bare-metal machine, or a kernel with kvm_pvm',
      }
    : {
        usable: false,
        why: 'there is no /dev/kvm: the CPU shows neither vmx nor svm',
        todo: 'switch virtualisation (VT-x, AMD-V) on in the firmware, or use a machine that has it',
      };
}
