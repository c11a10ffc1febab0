import { Option, type Command } from 'commander';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { resolve } from 'node:path';
import { outputOf, type GlobalOptions } from '../../commands/context';
import { wholeNumber } from '../../commands/option-types';
import { thisHost } from '../../doctor/host-view';
import { kvmAccess } from '../../doctor/kvm-access';
import { CliError } from '../../errors';
import { svgOf } from '../plot/svg-plot';
import { surroundings } from '../surroundings';
import { programVersion } from '../vmm/program-version';
import { againstPlots } from './against-plots';
import { againstReport } from './against-report';
import { benchAgainst, type AgainstParameters } from './against.bench';
import { rivalOption, rivalProgram, type Rival } from './rivals';

/** Of `bench start`, in force when there is a rival. */
export interface AgainstOptions {
  against?: Rival[];
  where?: AgainstParameters['where'];
  rounds: number;
  held: number;
  wholePath: boolean;
  plot?: string;
}

const CAUTIONS: Partial<Record<AgainstParameters['where'], string>> = {
  emulated:
    'Measured in software emulation: these figures say nothing about speed. Only their factors mean something, and those roughly.',
};
/** One start may take so long, s. */
const DEADLINE_S = { 'this-machine': 30, emulated: 300 } as const;

export function addAgainstOptions(command: Command): void {
  command
    .option(
      '--against <vmm>',
      'measure our VMM alone beside qemu[=PATH] or firecracker=PATH, in turn, with one guest; may be given twice',
      rivalOption,
    )
    .addOption(
      new Option('--where <host>', 'with --against: on this machine, or in an emulated host')
        .choices(['this-machine', 'emulated'])
        .default('this-machine'),
    )
    .option('--rounds <n>', 'with --against: how often each has its turn', wholeNumber(1, 100), 3)
    .option(
      '--held <n>',
      'with --against: microVMs that are held at once, for their memory',
      wholeNumber(1, 10_000),
      50,
    )
    .option('--no-whole-path', 'with --against: not also through a fleet of its own')
    .option('--plot <file>', 'with --against: draw each over the rounds, as SVG');
}

export async function measureAgainst(
  options: AgainstOptions & { count: number; concurrency: number; memory: number; cmdline: string },
  command: Command,
): Promise<void> {
  const data = resolve(command.optsWithGlobals<GlobalOptions>().data);
  const out = outputOf(command);
  const where = options.where ?? 'this-machine';
  const kvm = kvmAccess(thisHost(data));
  if (where === 'this-machine' && !kvm.usable) throw new CliError(`no microVM can run here: ${kvm.why}; ${kvm.todo}`);
  const rivals = options.against ?? [];
  const parameters: AgainstParameters = {
    ...{ where, rivals, rounds: options.rounds, count: options.count, held: options.held },
    concurrency: command.getOptionValueSource('concurrency') === 'default' ? cpus().length : options.concurrency,
    ...{ memoryMiB: options.memory, cmdline: options.cmdline === '' ? 'idle' : options.cmdline },
    ...{ deadlineS: DEADLINE_S[where], wholePath: options.wholePath && where === 'this-machine' },
  };
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => abort.abort());
  const at = new Date().toISOString();
  const result = await benchAgainst(parameters, abort.signal, (text) => out.note(text));
  if (options.plot !== undefined) writeFileSync(options.plot, svgOf(againstPlots(result)));
  if (out.json) {
    const { versions, ...machine } = surroundings([], data);
    const others = Object.fromEntries(rivals.map((rival) => [rival.kind, programVersion(rivalProgram(rival))]));
    out.document({
      ...{ bench: 'start', at, parameters, ...machine, versions: { ...(versions as object), ...others } },
      ...{ caution: CAUTIONS[where] ?? null, result },
    });
  } else {
    out.raw(againstReport(parameters, result));
    if (CAUTIONS[where] !== undefined) out.raw(`\n${CAUTIONS[where]}\n`);
  }
}
