/** A disk of an emulated host, as virtio block device: the first is `/dev/vda`. */
export interface EmulatedDisk {
  /** A raw image on this machine. */
  readonly path: string;
  readonly readOnly?: boolean;
}

/** The hardware of an emulated host, and what it boots. */
export interface EmulatedMachine {
  /** A bzImage. */
  readonly kernelImage: string;
  /** The initial ram file system; its `/init` becomes the first process. */
  readonly initrd: string;
  readonly memoryMiB: number;
  /** Processors; 1 is the safe choice when microVMs are to run: QEMU 7.2 has been seen to hang in nested guests with 2. */
  readonly cpus: number;
  readonly disks?: readonly EmulatedDisk[];
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

/** Arguments for `qemu-system-x86_64`; the first serial port is its standard input and output. */
export function qemuArguments(machine: EmulatedMachine): string[] {
  const { kernelImage, initrd, memoryMiB, cpus, disks = [], network, secondSerial } = machine;
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-monitor', 'none', '-serial', 'stdio'],
    ...(secondSerial === undefined ? [] : ['-serial', `unix:${plain(secondSerial)},server=on,wait=off`]),
    ...['-accel', 'tcg,thread=multi'],
    // Without xsave: emulated SVM does not intercept xsetbv, so KVM would not learn what its guest enables.
    ...['-cpu', 'EPYC,+svm,+npt,-xsave', '-smp', String(cpus), '-m', String(memoryMiB)],
    ...['-kernel', kernelImage, '-initrd', initrd],
    // Mitigations cost much time under emulation and protect nothing here.
    ...['-append', 'console=ttyS0 reboot=k panic=1 mitigations=off quiet loglevel=1'],
    ...disks.flatMap(({ path, readOnly = false }, index) => [
      '-drive',
      `file=${plain(path)},format=raw,if=none,id=disk${index},readonly=${readOnly ? 'on' : 'off'},discard=unmap`,
      '-device',
      `virtio-blk-pci,drive=disk${index}`,
    ]),
    ...(network === true ? ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='] : []),
  ];
}

/** A comma ends a value, two are one. */
function plain(path: string): string {
  return path.replaceAll(',', ',,');
}
