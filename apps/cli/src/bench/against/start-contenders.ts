import type { BenchFiles, Contender, GuestMachine } from '../vmm/contender';
import type { Rival } from './rivals';

/** What is measured, each by a run of its own. */
export const START_MEASURES = ['start', 'rate', 'memory'] as const;
export type StartMeasure = (typeof START_MEASURES)[number];

export interface StartCounts {
  /** Starts in a row, of a round. */
  count: number;
  /** Starts at a time, for the rate. */
  concurrency: number;
  /** microVMs that are held at once, for their memory. */
  held: number;
  /** s that one start may take. */
  deadlineS: number;
}

/** A VMM with what starts one guest in it; `ours` is a VMM of Volley. */
export interface StartVmm {
  name: string;
  ours: boolean;
  argv(files: BenchFiles, machine: GuestMachine): string[];
}

/** Of the one line that the canary prints: near its end, and the same whatever the VMM adds to the command line. */
const READY = ' MiB, ';

const volley = (name: string, jailed: boolean): StartVmm => ({
  name,
  ours: true,
  argv: ({ run, vmm, kernel }, { memoryMiB, cmdline, lifetimeS }) => [
    ...[run, '--vmm', vmm, '--kernel', kernel, '--memory', String(memoryMiB), '--cmdline', cmdline],
    ...['--jail', jailed ? 'yes' : 'no', '--timeout', String(lifetimeS)],
  ],
});

/** The barriers that need no rights: no capabilities, resource limits, a filter of system calls. */
export const VOLLEY_BARE = volley('volley', false);
/** Every barrier: namespaces, an empty root and a user of its own besides. */
export const VOLLEY_JAILED = volley('volley-jailed', true);

const QEMU_MICROVM: StartVmm = {
  name: 'qemu-microvm',
  ours: false,
  // All that the guest does not use is left out: QEMU is to start as fast as it can.
  argv: ({ qemu, roms, kernel }, { memoryMiB, cmdline }) => [
    ...[qemu, '-L', roms, '-accel', 'kvm', '-cpu', 'host', '-m', String(memoryMiB), '-smp', '1'],
    ...['-M', 'microvm,isa-serial=on,rtc=off,pit=off,pic=off,ioapic2=off,x-option-roms=off,auto-kernel-cmdline=off'],
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-monitor', 'none', '-serial', 'stdio'],
    ...['-kernel', kernel, '-append', cmdline],
  ],
};

const FIRECRACKER: StartVmm = {
  name: 'firecracker',
  ours: false,
  // By a file rather than over its API: no round trips on the way.
  argv: ({ firecracker, firecrackerConfig }) => [
    ...[firecracker!, '--no-api', '--config-file', firecrackerConfig!, '--level', 'Error'],
  ],
};

const RIVAL_VMMS: Record<Rival['kind'], StartVmm> = { qemu: QEMU_MICROVM, firecracker: FIRECRACKER };

/** Ours first. The jail takes root. */
export function startVmms(rivals: readonly Rival[], root: boolean): StartVmm[] {
  return [VOLLEY_BARE, ...(root ? [VOLLEY_JAILED] : []), ...rivals.map(({ kind }) => RIVAL_VMMS[kind])];
}

/** What Firecracker reads instead of being asked over its API. */
export function firecrackerConfig(kernel: string, { memoryMiB, cmdline }: GuestMachine): string {
  return JSON.stringify({
    'boot-source': { kernel_image_path: kernel, boot_args: cmdline },
    drives: [],
    'machine-config': { vcpu_count: 1, mem_size_mib: memoryMiB },
  });
}

/** One run of a contender: a VMM in one of the measures. */
export interface StartRun {
  vmm: string;
  measure: StartMeasure;
  contender: Contender;
}

/** Measure by measure, so that what is compared is measured one right after the other. */
export function startRuns(vmms: readonly StartVmm[], counts: StartCounts): StartRun[] {
  return START_MEASURES.flatMap((measure) =>
    vmms.map((vmm) => ({
      ...{ vmm: vmm.name, measure },
      contender: {
        name: `${measure} of ${vmm.name}`,
        argv: (files: BenchFiles, machine: GuestMachine) => [
          ...[files.starts!, '--until', READY, '--deadline', String(counts.deadlineS)],
          ...howOften(measure, counts),
          ...['--', ...vmm.argv(files, machine)],
        ],
      },
    })),
  );
}

function howOften(measure: StartMeasure, { count, concurrency, held }: StartCounts): string[] {
  switch (measure) {
    case 'start':
      return ['--count', String(count)];
    case 'rate':
      return ['--count', String(count), '--concurrency', String(concurrency)];
    case 'memory':
      return ['--count', String(held), '--concurrency', String(concurrency), '--hold', 'yes'];
  }
}
