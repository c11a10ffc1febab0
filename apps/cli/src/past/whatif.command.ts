import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { OversubscriptionPolicy, type WhatIfReport, type WhatIfScenario } from '#protocol';
import { contextOf, outputOf } from '../commands/context';
import { memoryOption, wholeNumber } from '../commands/option-types';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import type { Output } from '../output/output';
import { printable } from '../output/table';
import { instant, INSTANT_HELP, REPLAY_DEADLINE_MS } from './instant';
import { readTrace, type TraceFlags } from './trace-load';
import { showWhatIf } from './what-if-table';

interface Options extends Omit<TraceFlags, 'trace' | 'hosts' | 'every' | 'hostMemoryMiB'> {
  from?: string;
  to?: string;
  memoryRatio?: number;
  cpuRatio?: number;
  policy?: (keyof typeof POLICIES)[];
  hosts?: WhatIfScenario['hosts'];
  runs: number;
  trace?: string;
  every: number;
  hostMemory: number;
}

export function addWhatIfCommand(program: Command): void {
  program
    .command('whatif')
    .description('what would have become of the load of a time, or of a public trace, with other limits or hosts')
    .option('--from <time>', INSTANT_HELP)
    .option('--to <time>', `${INSTANT_HELP}; default: now`)
    .option('--memory-ratio <x>', 'most that hosts may promise of their memory', ratio)
    .option('--cpu-ratio <x>', 'most that hosts may promise of their CPUs', ratio)
    .option(
      '--policy <name>',
      'fixed, peak or goal: how ratios come about; may be repeated, each is a column',
      policyOption,
    )
    .option('--hosts <n|key=value>', 'so many hosts, or those with this label', hostsOption)
    .option('--runs <n>', 'how many runs with chance of their own', wholeNumber(1, 50), 5)
    .option(
      '--trace <form:path>',
      'in place of this fleet: a public trace, azure:vmtable.csv or google:task_events.csv',
    )
    .option('--readings <path>', 'CPU readings of the Azure trace')
    .option('--every <n>', 'of a trace only one VM or task in so many', wholeNumber(1), 1)
    .option('--host-cpus <n>', 'of a trace: CPUs of each host', wholeNumber(1), 64)
    .option('--host-memory <MiB>', 'of a trace: memory of each host, in MiB or as 512G', memoryOption, 524_288)
    .action(async (options: Options, command: Command) => {
      const { memoryRatio, cpuRatio, hosts, policy } = options;
      const ratios: WhatIfScenario = {
        ...(memoryRatio === undefined ? {} : { memoryRatio }),
        ...(cpuRatio === undefined ? {} : { cpuRatio }),
        ...(hosts === undefined || options.trace !== undefined ? {} : { hosts }),
      };
      const scenarios = policy?.map((name) => ({ ...ratios, ...POLICIES[name] })) ?? [ratios];
      const out = outputOf(command);
      if (options.trace !== undefined) return askTrace(out, { ...options, trace: options.trace }, scenarios);
      const { from, to, runs } = options;
      if (from === undefined) throw new CliError('say since when: --from TIME, or --trace', ExitCode.usage);
      const body = {
        from: instant(from),
        ...(to === undefined ? {} : { to: instant(to) }),
        alternatives: scenarios,
        runs,
      };
      const { client } = contextOf(command);
      const report = await client.post<WhatIfReport>('/v1/whatif', { body, deadlineMs: REPLAY_DEADLINE_MS });
      if (out.json) return out.document(report);
      showWhatIf(out, report);
    });
}

/** Names of policies, with the settings that a host class has by default. `fixed`: the ratios that are given. */
const POLICIES = {
  fixed: {},
  peak: { policy: OversubscriptionPolicy.parse({ kind: 'predictedPeak' }) },
  goal: { policy: OversubscriptionPolicy.parse({ kind: 'complianceGoal' }) },
} satisfies Record<string, WhatIfScenario>;

/** In this process: a trace is nothing that a fleet would have to know of. */
async function askTrace(
  out: Output,
  options: Options & { trace: string },
  alternatives: WhatIfScenario[],
): Promise<void> {
  const { hosts = 1, hostMemory, runs } = options;
  if (typeof hosts !== 'number') throw new CliError('--hosts must be a number with --trace', ExitCode.usage);
  const { whatIf } = await import('#whatif');
  const { load, files } = await readTrace({ ...options, hosts, hostMemoryMiB: hostMemory });
  const report = whatIf(load, {
    ...{ from: load.from, to: load.to, runs, reportIntervalMs: TRACE_REPORT_MS },
    alternatives,
  });
  if (out.json) return out.document({ files, ...report });
  for (const { path, tally } of files) {
    out.line(`${path}: ${tally.lines} lines${tally.bad === 0 ? '' : `, ${tally.bad} of them no rows`}`);
    for (const { line, reason } of tally.examples) out.line(`  line ${line}: ${printable(reason)}`);
  }
  showWhatIf(out, report, { happened: false });
}

/** How often hosts of a trace report, as hostd does by default. */
const TRACE_REPORT_MS = 1_000;

function ratio(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('must be a number above 0.');
  return value;
}

function hostsOption(text: string): WhatIfScenario['hosts'] {
  if (/^\d+$/.test(text)) return Number(text);
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('must be a number of hosts, or a label as key=value.');
  return { [text.slice(0, at)]: text.slice(at + 1) };
}

function policyOption(text: string, before: (keyof typeof POLICIES)[] | undefined): (keyof typeof POLICIES)[] {
  if (!(text in POLICIES)) throw new InvalidArgumentError(`must be one of ${Object.keys(POLICIES).join(', ')}.`);
  return [...(before ?? []), text as keyof typeof POLICIES];
}
