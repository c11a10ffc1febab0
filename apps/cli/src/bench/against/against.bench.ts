import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchEmulatedHostTools } from '#emulated-host';
import { CliError } from '../../errors';
import { repositoryRoot } from '../../repository-root';
import { built } from '../vmm/built';
import { compare, type Comparison } from '../vmm/compare';
import type { BenchFiles, GuestMachine } from '../vmm/contender';
import type { Figures } from '../vmm/measured';
import { sideBySide } from '../vmm/side-by-side';
import { emulatedStage, QEMU_ROMS, thisMachine } from '../vmm/stage';
import { factorsOf, type Factor } from './factors';
import { rivalProgram, type Rival } from './rivals';
import { firecrackerConfig, startRuns, startVmms, type StartCounts } from './start-contenders';
import { startFigure } from './start-figures';
import { wholePathRounds, WHOLE_PATH } from './whole-path';

export interface AgainstParameters extends StartCounts {
  where: 'this-machine' | 'emulated';
  rivals: readonly Rival[];
  rounds: number;
  memoryMiB: number;
  cmdline: string;
  /** Measure the same starts through a fleet of its own, too. */
  wholePath: boolean;
}

export interface AgainstResult {
  where: string;
  guest: string;
  /** By measure, of each contender: the median of its rounds. Latencies in µs. */
  medians: Pick<Comparison, 'of' | 'medians'>[];
  factors: Factor[];
  /** By contender. */
  rounds: Record<string, Figures[]>;
}

/** Waiting for what was killed, and for memory to settle, s. */
const AROUND_S = 60;
const GUEST = 'canary-anywhere.elf';

/**
 * Starts one guest under our VMM and under others, on the same host and in turn: how long a start takes, how many a second there
 * are, what one costs in memory.
 *
 * @throws CliError when something that is needed is missing, NoResultError when a guest did not start.
 */
export async function benchAgainst(
  parameters: AgainstParameters,
  signal: AbortSignal,
  progress: (text: string) => void,
): Promise<AgainstResult> {
  const { where, rivals, rounds, count, held, deadlineS } = parameters;
  const root = repositoryRoot();
  const programs = Object.fromEntries(rivals.map((rival) => [rival.kind, rivalProgram(rival)]));
  const machine: GuestMachine = {
    ...{ vcpus: 1, memoryMiB: parameters.memoryMiB, cmdline: parameters.cmdline, disk: false },
    lifetimeS: AROUND_S + Math.max(count, held) * Math.ceil(deadlineS / 10),
  };
  const folder = mkdtempSync(join(tmpdir(), 'volley-bench-'));
  try {
    const files: BenchFiles = {
      vmm: built(root, 'native/build/vmm/volley-vmm'),
      run: built(root, 'native/build/vmm/volley-run'),
      starts: built(root, 'native/build/vmm/volley-starts'),
      kernel: built(root, `native/build/guest/${GUEST}`),
      ...{ qemu: programs['qemu'] ?? '', roms: QEMU_ROMS, initrd: '', tools: '', disk: '' },
      ...(programs['firecracker'] === undefined
        ? {}
        : { firecracker: programs['firecracker'], firecrackerConfig: join(folder, 'firecracker.json') }),
    };
    const stage = where === 'emulated' ? await emulated(root, files) : thisMachine(files, false);
    if (files.firecrackerConfig !== undefined) {
      writeFileSync(files.firecrackerConfig, firecrackerConfig(stage.files.kernel, machine));
    }
    const vmms = startVmms(rivals, where === 'emulated' || process.getuid?.() === 0);
    const runs = startRuns(vmms, parameters);
    const measureOf = new Map(runs.map(({ contender, measure }) => [contender, measure]));
    const played = await sideBySide({
      ...{ stage, machine, rounds, progress, diskMiB: 0, contenders: runs.map(({ contender }) => contender) },
      read: (console, contender) => {
        const measure = measureOf.get(contender)!;
        return { [measure]: startFigure(measure, console) };
      },
    });
    const results = new Map<string, Figures[]>(
      vmms.map(({ name }) => {
        const own = runs.filter(({ vmm }) => vmm === name).map(({ contender }) => played.get(contender.name)!);
        return [name, Array.from({ length: rounds }, (_, round) => Object.assign({}, ...own.map((all) => all[round])))];
      }),
    );
    if (parameters.wholePath) results.set(WHOLE_PATH, await wholePathRounds(parameters, signal, progress));
    const medians = compare(results).map(({ of, medians }) => ({ of, medians }));
    const ours = [...vmms.filter((vmm) => vmm.ours).map(({ name }) => name), WHOLE_PATH];
    const others = vmms.filter((vmm) => !vmm.ours).map(({ name }) => name);
    return {
      ...{ where: stage.where, guest: GUEST, medians, factors: factorsOf(medians, ours, others) },
      rounds: Object.fromEntries(results),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function emulated(root: string, files: BenchFiles): Promise<ReturnType<typeof emulatedStage>> {
  const found = await fetchEmulatedHostTools(join(root, '.volley', 'cache', 'kernels'));
  if (!found.available) throw new CliError(found.reason);
  return emulatedStage(found.tools, { ...files, qemu: files.qemu === '' ? found.tools.qemu : files.qemu }, []);
}
