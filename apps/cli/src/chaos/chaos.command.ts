import type { Command } from 'commander';
import { campaign, FAULTS, type CampaignRun } from '#chaos';
import type { VmmChoice } from '#protocol';
import { outputOf } from '../commands/context';
import { wholeNumber } from '../commands/option-types';
import { vmmOption } from '../commands/vmm-option';
import { thisHost } from '../doctor/host-view';
import { requireVmm } from '../doctor/require-vmm';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { duration } from '../output/quantities';
import { repositoryRoot } from '../repository-root';

interface ChaosOptions {
  runs: number;
  seed?: number;
  microvms: number;
  faults?: string;
  controllers?: number;
  cluster?: boolean;
  vmm: VmmChoice;
  list?: boolean;
}

const WITH: Record<VmmChoice, string> = { kvm: 'VMMs on KVM', 'stand-in': 'stand-ins for VMMs, without guests' };

export function addChaosCommand(program: Command): void {
  program
    .command('chaos')
    .description(
      'hurt a fleet of its own on this machine, run by run, and check after each that nothing was lost, doubled or left over',
    )
    .option('--runs <n>', 'how many runs', wholeNumber(1, 1_000_000), 10)
    .option('--seed <n>', 'of the first run; the next ones count up from it', wholeNumber(0, 4_294_967_295))
    .option('--microvms <n>', 'canaries of each run', wholeNumber(2, 1_000), 16)
    .option('--faults <names>', 'draw from these only, separated by commas')
    .option('--controllers <n>', 'replicas of the controller', wholeNumber(1, 9))
    .option('--cluster', 'on a cluster of three nats-servers')
    .addOption(vmmOption())
    .option('--list', 'say which faults there are')
    .action(async (options: ChaosOptions, command: Command) => {
      const out = outputOf(command);
      if (options.list) return Object.keys(FAULTS).forEach((name) => out.line(name));
      const kinds = options.faults?.split(',') ?? (options.cluster ? Object.keys(FAULTS) : undefined);
      const unknown = kinds?.filter((name) => !(name in FAULTS)) ?? [];
      if (unknown.length > 0)
        throw new CliError(
          `no fault ${unknown.join(', ')}; there are ${Object.keys(FAULTS).join(', ')}`,
          ExitCode.usage,
        );
      const { runs, microvms, controllers, vmm } = options;
      const seed = options.seed ?? Date.now() % 1_000_000;
      const done: CampaignRun[] = [];
      const root = repositoryRoot();
      requireVmm(vmm, thisHost(root));
      const replicas = controllers === undefined ? [] : ['--controllers', String(controllers)];
      const up = ['--vmm', vmm, ...replicas, ...(options.cluster ? ['--cluster'] : [])];
      const stop = new AbortController();
      const interrupted = (): void => {
        out.note('stops after the run under way and takes its fleet down');
        stop.abort();
      };
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, interrupted);
      const { signal } = stop;
      for await (const run of campaign({ root, runs, seed, microvms, up, signal, ...(kinds ? { kinds } : {}) })) {
        done.push(run);
        out.note(told(run, vmm));
      }
      const failed = done.filter(({ violations }) => violations.length > 0);
      if (out.json) out.document({ vmm, runs: done });
      else out.line(`${done.length} runs with ${WITH[vmm]}, seeds from ${seed} on: ${failed.length} with violations`);
      if (failed.length > 0) process.exitCode = ExitCode.failed;
    });
}

function told(
  { seed, faults, microvms, records, endings, settledMs, tookMs, violations, kept }: CampaignRun,
  vmm: VmmChoice,
): string {
  const states = Object.entries(endings).map(([state, count]) => `${count} ${state}`);
  const lines = [
    `seed ${seed}: ${violations.length === 0 ? 'ok' : 'VIOLATED'} after ${duration(tookMs)}; ${microvms} microVMs (${states.join(', ')}), ` +
      `${records} records, ${settledMs === undefined ? 'never settled' : `settled in ${duration(settledMs)}`}`,
    ...faults.map((fault) => `  ${fault}`),
    ...violations.map(({ rule, subject, detail }) => `  ${rule} ${subject}: ${detail}`),
    ...(kept === undefined
      ? []
      : [`  logs and journals: ${kept}; again: volley chaos --runs 1 --seed ${seed} --vmm ${vmm}`]),
  ];
  return lines.join('\n');
}
