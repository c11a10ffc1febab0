import { Option, type Command } from 'commander';
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { outputOf, type GlobalOptions } from '../../commands/context';
import { memoryOption, wholeNumber } from '../../commands/option-types';
import { thisHost } from '../../doctor/host-view';
import { kvmAccess } from '../../doctor/kvm-access';
import { CliError } from '../../errors';
import { table } from '../../output/table';
import { surroundings } from '../surroundings';
import { programVersion } from './program-version';
import type { Comparison } from './compare';
import type { Figure } from './measured';
import { MEASURING } from './guest';
import { benchVmms, type VmmBenchParameters, type VmmBenchResult } from './vmm.bench';

interface VmmBenchOptions {
  where?: VmmBenchParameters['where'];
  rounds: number;
  seconds: number;
  vcpus: number;
  memory: number;
  disk: number;
  scratch?: string;
}

const CAUTIONS: Partial<Record<VmmBenchParameters['where'], string>> = {
  emulated:
    'Measured in software emulation: these figures say nothing about speed. Only their ratios mean something, and those roughly.',
  canary:
    "With nothing to compare them to: no other VMM boots a canary, and on software KVM each of the canary's exits costs many times that of hardware.",
};

/** `bench io` and `bench net`: our VMM beside QEMU's microvm machine. */
export function addVmmBenchCommands(bench: Command): void {
  for (const [name, description] of [
    ['io', "measure block devices beside QEMU's microvm: the same host, kernel, guest and disk, in turn"],
    ['net', "measure network devices beside QEMU's microvm: the same host, kernel, guest and tap, in turn"],
  ] as const) {
    const command = bench
      .command(name)
      .description(description)
      .addOption(
        new Option(
          '--where <host>',
          'default: this machine when it has hardware KVM, else an emulated host; canary: our VMM alone, here, with a canary',
        ).choices(['this-machine', 'emulated', 'canary']),
      )
      .option('--rounds <n>', 'how often each VMM has its turn', wholeNumber(1, 100), 3)
      .option('--seconds <n>', 'how long each measurement takes', wholeNumber(1, 600), 5)
      .option('--vcpus <n>', 'of the guest', wholeNumber(1, 32), 1)
      .option('--memory <MiB>', 'of the guest', memoryOption, 384);
    if (name === 'io') {
      command
        .option('--disk <MiB>', 'size of the disk that is measured', memoryOption, 256)
        .option('--scratch <dir>', 'where the disk is put; default: the data folder');
    }
    command.action(async (options: VmmBenchOptions, command: Command) => measure(name, options, command));
  }
}

async function measure(bench: 'io' | 'net', options: VmmBenchOptions, command: Command): Promise<void> {
  const data = resolve(command.optsWithGlobals<GlobalOptions>().data);
  const out = outputOf(command);
  const kvm = kvmAccess(thisHost(data));
  const hardware = kvm.usable && kvm.kind === 'hardware';
  const where = options.where ?? (hardware ? 'this-machine' : 'emulated');
  if (where === 'this-machine' && !hardware) {
    throw new CliError(
      `stock Linux does not boot on this machine (${kvm.usable ? 'its KVM is a software one' : kvm.why}); use --where emulated`,
    );
  }
  if (where === 'canary' && !kvm.usable) throw new CliError(`no microVM can run here: ${kvm.why}; ${kvm.todo}`);
  if (where !== 'emulated' && bench === 'net' && process.getuid?.() !== 0) {
    throw new CliError('a tap and a network namespace are needed: run this as root');
  }
  const scratch = resolve(options.scratch ?? data);
  mkdirSync(scratch, { recursive: true });
  const parameters: VmmBenchParameters = {
    ...{ bench, where, rounds: options.rounds, seconds: options.seconds },
    ...{ vcpus: options.vcpus, memoryMiB: options.memory, diskMiB: options.disk ?? 0 },
  };
  const at = new Date().toISOString();
  const result = await benchVmms(parameters, scratch, (text) => out.note(text));
  if (out.json) {
    const { versions, ...machine } = surroundings([], data);
    out.document({
      ...{ bench, at, parameters, ...machine },
      versions: { ...(versions as object), ...programVersions(bench) },
      caution: CAUTIONS[where] ?? null,
      result,
    });
  } else out.raw(told(parameters, result));
}

function told({ bench, where, rounds, seconds }: VmmBenchParameters, result: VmmBenchResult): string {
  const [ours = '', theirs = ''] = Object.keys(result.rounds);
  const rows = result.comparisons.flatMap((comparison) => rowsOf(comparison, ours, theirs));
  const lines = [
    `bench ${bench}: ${rounds} rounds${where === 'canary' ? '' : ` of ${seconds} s each`}, on ${result.where}, guest ${result.guest}; medians`,
    '',
    table(
      [
        { title: 'WHAT', value: ({ what }) => what },
        { title: 'MEASURE', value: ({ measure }) => measure },
        { title: ours.toUpperCase(), value: ({ first }) => first, align: 'right' },
        { title: theirs.toUpperCase(), value: ({ second }) => second, align: 'right' },
        { title: 'RATIO', value: ({ ratio }) => ratio, align: 'right' },
      ],
      rows,
    ),
    ...(CAUTIONS[where] === undefined ? [] : ['', CAUTIONS[where]]),
  ];
  return `${lines.join('\n')}\n`;
}

interface Row {
  what: string;
  measure: string;
  first: string | undefined;
  second: string | undefined;
  ratio: string | undefined;
}

const SHOWN: readonly [measure: keyof Figure, title: string, show: (value: number) => string][] = [
  ['bytesPerSecond', 'MB/s', (value) => (value / 1e6).toFixed(1)],
  ['operationsPerSecond', 'per second', (value) => value.toFixed(0)],
  ['mean', 'mean, us', (value) => value.toFixed(1)],
  ['p50', 'p50, us', (value) => value.toFixed(1)],
  ['p99', 'p99, us', (value) => value.toFixed(1)],
  ['max', 'max, us', (value) => value.toFixed(0)],
  ['lostPercent', 'lost, %', (value) => value.toFixed(1)],
];

function rowsOf({ of, medians, ratio }: Comparison, ours: string, theirs: string): Row[] {
  return SHOWN.flatMap(([measure, title, show]) => {
    const [first, second] = [medians[ours]?.[measure], medians[theirs]?.[measure]];
    if (first === undefined && second === undefined) return [];
    const text = (value: number | undefined): string | undefined => (value === undefined ? undefined : show(value));
    return [
      { what: of, measure: title, first: text(first), second: text(second), ratio: ratio?.[measure]?.toFixed(2) },
    ];
  });
}

function programVersions(bench: keyof typeof MEASURING): Record<string, string | null> {
  return { qemu: programVersion('qemu-system-x86_64'), [MEASURING[bench]]: programVersion(MEASURING[bench]) };
}
