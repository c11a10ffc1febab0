import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fetchEmulatedHostTools, findProgram } from '#emulated-host';
import { CliError } from '../../errors';
import { repositoryRoot } from '../../repository-root';
import { built } from './built';
import { canaryContender, canaryFigures } from './canary';
import { compare, type Comparison } from './compare';
import { CONTENDERS, type BenchFiles } from './contender';
import { MEASURING, writeGuest, writeGuestTools } from './guest';
import { fioFigures, iperfFigure, pingFigure, resultText, type Figures } from './measured';
import { IO_JOBS } from './io-jobs';
import { sideBySide } from './side-by-side';
import { emulatedStage, QEMU_ROMS, thisMachine } from './stage';

export interface VmmBenchParameters {
  bench: 'io' | 'net';
  /** `canary`: our VMM alone, on this machine, with a canary as guest. */
  where: 'this-machine' | 'emulated' | 'canary';
  rounds: number;
  /** Of each measurement, s. */
  seconds: number;
  vcpus: number;
  memoryMiB: number;
  diskMiB: number;
}

export interface VmmBenchResult {
  where: string;
  /** Release of the kernel, or the canary. */
  guest: string;
  comparisons: Comparison[];
  rounds: Record<string, Figures[]>;
}

const TAP = 'bench0';
/** Booting a guest and starting its programs, s; a hundred times that where everything is emulated twice. */
const BOOT_S = { 'this-machine': 30, emulated: 300, canary: 20 } as const;
const STREAMS = ['tcp-send', 'tcp-receive', 'udp-send', 'udp-receive'] as const;

/**
 * Measures the devices of our VMM beside those of QEMU's microvm machine: the same host, kernel, guest, disk file and tap.
 *
 * @param scratch a folder on the disk that is to be measured
 * @throws CliError when something that is needed is missing, NoResultError when a guest did not do its work.
 */
export async function benchVmms(
  parameters: VmmBenchParameters,
  scratch: string,
  progress: (text: string) => void,
): Promise<VmmBenchResult> {
  const { bench, where, rounds, seconds, vcpus, memoryMiB } = parameters;
  const root = repositoryRoot();
  if (where === 'canary') return benchCanary(parameters, scratch, progress);
  const found = await fetchEmulatedHostTools(join(root, '.volley', 'cache', 'kernels'));
  if (!found.available) throw new CliError(found.reason);
  const { tools } = found;
  const measuring = findProgram(MEASURING[bench]);
  if (measuring === undefined) {
    throw new CliError(`${MEASURING[bench]} is missing; install the Debian package ${MEASURING[bench]}`);
  }
  const ip = findProgram('ip');
  if (bench === 'net' && ip === undefined) throw new CliError('ip is missing; install the Debian package iproute2');
  const folder = mkdtempSync(join(scratch, 'volley-bench-'));
  try {
    const files: BenchFiles = {
      vmm: built(root, 'native/build/vmm/volley-vmm'),
      run: built(root, 'native/build/vmm/volley-run'),
      qemu: tools.qemu,
      roms: QEMU_ROMS,
      kernel: tools.kernel.image,
      initrd: join(folder, 'guest.cpio'),
      tools: join(folder, 'tools.ext4'),
      disk: join(folder, 'measured'),
    };
    progress('making the guest');
    writeGuest(files.initrd, tools);
    await writeGuestTools(files.tools, bench);
    const helpers = bench === 'net' ? [measuring, ip!] : [];
    const stage = where === 'emulated' ? emulatedStage(tools, files, helpers) : thisMachine(files, bench === 'net');
    const measurements = bench === 'io' ? IO_JOBS.length : STREAMS.length + 1;
    const results = await sideBySide({
      stage,
      contenders: CONTENDERS,
      machine: {
        ...{ vcpus, memoryMiB, disk: bench === 'io', lifetimeS: BOOT_S[where] + measurements * (seconds + 10) },
        ...(bench === 'net' ? { tap: TAP } : {}),
        cmdline: `quiet mitigations=off panic=1 bench=${bench} seconds=${seconds}`,
      },
      rounds,
      diskMiB: bench === 'io' ? parameters.diskMiB : 0,
      ...(bench === 'net' ? { network: { ip: ip!, server: [measuring, '-s'] } } : {}),
      read: bench === 'io' ? ioFigures : netFigures,
      progress,
    });
    return {
      where: stage.where,
      guest: tools.kernel.release,
      comparisons: compare(results),
      rounds: Object.fromEntries(results),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What is left where no stock kernel boots. */
async function benchCanary(
  { bench, rounds, diskMiB }: VmmBenchParameters,
  scratch: string,
  progress: (text: string) => void,
): Promise<VmmBenchResult> {
  const root = repositoryRoot();
  const ip = findProgram('ip');
  if (bench === 'net' && ip === undefined) throw new CliError('ip is missing; install the Debian package iproute2');
  const folder = mkdtempSync(join(scratch, 'volley-bench-'));
  try {
    const kernel = built(root, 'native/build/guest/canary-devices.bin');
    const files: BenchFiles = {
      vmm: built(root, 'native/build/vmm/volley-vmm'),
      run: built(root, 'native/build/vmm/volley-run'),
      ...{ kernel, disk: join(folder, 'measured'), qemu: '', roms: '', initrd: '', tools: '' },
    };
    const stage = thisMachine(files, bench === 'net');
    const results = await sideBySide({
      ...{ stage, rounds, progress, contenders: [canaryContender(bench)] },
      machine: {
        ...{ vcpus: 1, memoryMiB: 16, cmdline: '', disk: bench === 'io', lifetimeS: BOOT_S.canary },
        ...(bench === 'net' ? { tap: TAP } : {}),
      },
      diskMiB: bench === 'io' ? diskMiB : 0,
      ...(bench === 'net' ? { network: { ip: ip!, server: ['true'] } } : {}),
      read: (console) => canaryFigures(bench, console),
    });
    return {
      ...{ where: stage.where, guest: 'canary-devices' },
      comparisons: compare(results),
      rounds: Object.fromEntries(results),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function ioFigures(console: string): Figures {
  return fioFigures(resultText(console, 'fio'));
}

function netFigures(console: string): Figures {
  return {
    ping: pingFigure(resultText(console, 'ping')),
    ...Object.fromEntries(STREAMS.map((name) => [name, iperfFigure(resultText(console, name))])),
  };
}
