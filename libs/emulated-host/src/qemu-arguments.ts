/** A disk of an emulated host, as virtio block device: the first is `/dev/vda`. */
export interface EmulatedDisk {
  /** A raw image on this machine. */
  readonly path: string;
  readonly readOnly?: boolean;
}

/** A folder of this machine that an emulated host reaches over 9P (`mount -t 9p TAG`). */
export interface EmulatedShare {
  readonly path: string;
  readonly tag: string;
  /** What is written there is written here. */
  readonly writable?: boolean;
}

/** The hardware of an emulated host, and what it boots. */
export interface EmulatedMachine {
  /** A bzImage. */
  readonly kernelImage: string;
  /** The initial ram file system; its `/init` becomes the first process. */
  readonly initrd: string;
  readonly memoryMiB: number;
  /** Processors. More than one take turns on one of this machine's: good for what needs to see several, no faster. */
  readonly cpus: number;
  readonly disks?: readonly EmulatedDisk[];
  readonly shares?: readonly EmulatedShare[];
  /**
   * A network card behind which the services of this machine's loopback interface are reached at {@link THIS_MACHINE}.
   * Nothing reaches the host from outside.
   */
  readonly network?: boolean;
  /** Path of a Unix socket, at most 100 bytes, that is to become the host's second serial port, `/dev/ttyS1`. */
  readonly secondSerial?: string;
}

/** The address under which an emulated host with a network sees the machine that runs it. */
export const THIS_MACHINE = '10.0.2.2';

/** Mitigations cost much time under emulation and protect nothing here. */
const QUICK = 'mitigations=off';

/**
 * QEMU loses an interrupt of its processor when a timer expires in the instant in which a virtual machine is entered that has one of its own
 * waiting: both change the same word, and only one holds the lock for it. It stays pending, is delivered with the next one, and a kernel whose
 * next one is what this one should have set never has any: it goes on without timers, and stops for good when it has nothing to do. With a
 * timer that ticks by itself the next one is 4 ms away.
 */
const PERIODIC_TICK = 'highres=off nohz=off';

/**
 * A processor that runs on while another writes into the code that it runs may go on with what was there before, for good: QEMU keeps the
 * translation of it. Linux changes its own code all the time (a key in its scheduler with every first and last virtual machine); its way of
 * doing so puts a breakpoint there meanwhile, and both processors then meet that breakpoint for ever. So several take turns on one thread.
 */
const threads = (cpus: number): string => (cpus > 1 ? 'single' : 'multi');

/** Arguments for `qemu-system-x86_64`; the first serial port is its standard input and output. */
export function qemuArguments(machine: EmulatedMachine): string[] {
  const { kernelImage, initrd, memoryMiB, cpus, disks = [], shares = [], network, secondSerial } = machine;
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-monitor', 'none', '-serial', 'stdio'],
    ...(secondSerial === undefined ? [] : ['-serial', `unix:${plain(secondSerial)},server=on,wait=off`]),
    ...['-accel', `tcg,thread=${threads(cpus)}`],
    // Without xsave: emulated SVM does not intercept xsetbv, so KVM would not learn what its guest enables.
    ...['-cpu', 'EPYC,+svm,+npt,-xsave', '-smp', String(cpus), '-m', String(memoryMiB)],
    ...['-kernel', kernelImage, '-initrd', initrd],
    ...['-append', `console=ttyS0 reboot=k panic=1 quiet loglevel=1 ${QUICK} ${PERIODIC_TICK}`],
    ...disks.flatMap(({ path, readOnly = false }, index) => [
      '-drive',
      `file=${plain(path)},format=raw,if=none,id=disk${index},readonly=${readOnly ? 'on' : 'off'},discard=unmap`,
      '-device',
      `virtio-blk-pci,drive=disk${index}`,
    ]),
    // Files of several file systems are told apart by numbers that QEMU gives them.
    ...shares.flatMap(({ path, tag, writable = false }) => [
      '-virtfs',
      `local,path=${plain(path)},mount_tag=${tag},security_model=none,readonly=${writable ? 'off' : 'on'},multidevs=remap`,
    ]),
    ...(network === true ? ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='] : []),
  ];
}

/** A comma ends a value, two are one. */
function plain(path: string): string {
  return path.replaceAll(',', ',,');
}
