/** Paths on the host where VMMs are measured. */
export interface BenchFiles {
  vmm: string;
  run: string;
  qemu: string;
  /** Firmware and option ROMs of QEMU. */
  roms: string;
  kernel: string;
  initrd: string;
  /** What the guest measures with; see `guestTools`. */
  tools: string;
  /** The disk that is measured. */
  disk: string;
  /** What measures starts. */
  starts?: string;
  firecracker?: string;
  /** The whole machine, for Firecracker. */
  firecrackerConfig?: string;
}

/** What both VMMs are given. */
export interface GuestMachine {
  vcpus: number;
  memoryMiB: number;
  cmdline: string;
  /** The disk that is measured, beside that of the tools. */
  disk: boolean;
  /** A tap of the network namespace in which the VMM is started. */
  tap?: string;
  /** After which it is ended, s. */
  lifetimeS: number;
}

/** One VMM: how to start a guest under it, with the guest's console on standard output. */
export interface Contender {
  name: string;
  argv(files: BenchFiles, machine: GuestMachine): string[];
}

export const VOLLEY: Contender = {
  name: 'volley',
  argv: ({ vmm, run, kernel, initrd, tools, disk }, machine) => [
    ...[run, '--vmm', vmm, '--kernel', kernel, '--initrd', initrd, '--cmdline', `${machine.cmdline} console=ttyS0`],
    ...['--memory', String(machine.memoryMiB), '--vcpus', String(machine.vcpus), '--rng', 'yes'],
    ...['--disk', tools, ...(machine.disk ? ['--disk', disk] : [])],
    ...(machine.tap === undefined ? [] : ['--tap', machine.tap]),
    ...['--timeout', String(machine.lifetimeS)],
  ],
};

/**
 * QEMU's smallest machine with the same devices: virtio-mmio, found by ACPI. Files go through the page cache and a flush
 * reaches the disk, as with ours; packets are moved by the VMM itself, as with ours, not by a kernel thread.
 */
export const QEMU_MICROVM: Contender = {
  name: 'qemu-microvm',
  argv: ({ qemu, roms, kernel, initrd, tools, disk }, machine) => [
    ...['timeout', '-s', 'KILL', String(machine.lifetimeS), qemu, '-L', roms],
    ...['-M', 'microvm,isa-serial=on,rtc=on,pit=off,pic=off', '-accel', 'kvm', '-cpu', 'host'],
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-monitor', 'none', '-serial', 'stdio'],
    ...['-m', String(machine.memoryMiB), '-smp', String(machine.vcpus), '-kernel', kernel, '-initrd', initrd],
    ...['-append', `${machine.cmdline} console=ttyS0`],
    ...['-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-device,rng=rng'],
    ...drive('tools', tools),
    ...(machine.disk ? drive('disk', disk) : []),
    ...(machine.tap === undefined
      ? []
      : [
          ...['-netdev', `tap,id=net,ifname=${machine.tap},script=no,downscript=no,vhost=off`],
          ...['-device', 'virtio-net-device,netdev=net,mac=02:00:00:00:00:01'],
        ]),
  ],
};

function drive(id: string, path: string): string[] {
  return [
    ...['-drive', `id=${id},file=${path},format=raw,if=none,cache=writeback,aio=threads`],
    ...['-device', `virtio-blk-device,drive=${id}`],
  ];
}

export const CONTENDERS: readonly Contender[] = [VOLLEY, QEMU_MICROVM];
