import { Option, type Command } from 'commander';
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { Host } from '#protocol';
import { contextOf } from '../commands/context';
import { durationOption, memoryOption, wholeNumber } from '../commands/option-types';
import { CliError } from '../errors';
import { duration } from '../output/quantities';
import { phaseTable } from './phase-table';
import { benchStart, type StartParameters, type StartResult } from './start.bench';
import { surroundings } from './surroundings';
import { addAgainstOptions, measureAgainst, type AgainstOptions } from './against/against.command';
import { addCloneBenchCommand } from './clone/clone-bench.command';
import { addControlBenchCommand } from './control/control-bench.command';
import { addMixBenchCommand } from './mix/mix-bench.command';
import { addDensityBenchCommand } from './density/density-bench.command';
import { addSnapshotBenchCommand } from './snapshot/snapshot-bench.command';
import { addVmmBenchCommands } from './vmm/vmm-bench.command';
import { addWhatIfBenchCommand } from './whatif/whatif-bench.command';

interface BenchOptions extends AgainstOptions {
  count: number;
  concurrency: number;
  image: string;
  memory: number;
  cmdline: string;
  devices: StartParameters['devices'];
  startTimeout: number;
}

export function addBenchCommand(program: Command): void {
  const bench = program.command('bench').description('measure the running fleet, or the VMM beside another');
  addVmmBenchCommands(bench);
  addControlBenchCommand(bench);
  addDensityBenchCommand(bench);
  addMixBenchCommand(bench);
  addCloneBenchCommand(bench);
  addSnapshotBenchCommand(bench);
  addWhatIfBenchCommand(bench);
  const start = bench
    .command('start', { isDefault: true })
    .description(
      'start many microVMs through the whole path, measure every step, and delete them again; or start them under our VMM and another',
    )
    .option('--count <n>', 'how many', wholeNumber(1, 100_000), 100)
    .option('--concurrency <n>', 'how many are being started at any time', wholeNumber(1, 1_000), 16)
    .option('--image <name>', 'image', 'canary')
    .option('--memory <MiB>', 'memory of each', memoryOption, 16)
    .option('--cmdline <text>', 'kernel command line', '')
    .addOption(
      new Option('--devices <which>', 'what the image has, or also two disks, network, vsock, balloon, random numbers')
        .choices(['image', 'all'])
        .default('image'),
    )
    .option('--start-timeout <duration>', 'how long one start may take', durationOption, 60_000)
    .action(async (options: BenchOptions, command: Command) => {
      if (options.against) return measureAgainst(options, command);
      if (options.plot !== undefined)
        throw new CliError('--plot goes with --against; see also: volley bench density --plot');
      const { client, out, data } = contextOf(command);
      const parameters: StartParameters = {
        count: options.count,
        concurrency: options.concurrency,
        image: options.image,
        memoryMiB: options.memory,
        cmdline: options.cmdline,
        devices: options.devices,
        startTimeoutMs: options.startTimeout,
      };
      const { items: hosts } = await client.get<{ items: Host[] }>('/v1/hosts');
      const abort = new AbortController();
      const interrupted = (): void => {
        if (abort.signal.aborted) process.exit(130);
        out.note('interrupted: deleting what was started (Ctrl-C again leaves it)');
        abort.abort();
      };
      process.on('SIGINT', interrupted);
      process.on('SIGTERM', interrupted);
      const at = new Date().toISOString();
      const result = await benchStart(client, parameters, randomBytes(6).toString('hex'), abort.signal, (text) =>
        out.note(text),
      );
      if (out.json) out.document({ bench: 'start', at, parameters, ...surroundings(hosts, resolve(data)), result });
      else out.raw(told(parameters, result));
      if (result.left > 0) throw new CliError(`${result.left} microVMs of this run are still there; see: volley ps`);
      if (abort.signal.aborted) process.exitCode = 130;
      else if (result.running < options.count)
        throw new CliError(
          `${options.count - result.running} of ${options.count} did not run: ${worst(result.failures)}`,
        );
    });
  addAgainstOptions(start);
}

function told({ count, concurrency, image, memoryMiB }: StartParameters, result: StartResult): string {
  const { phases, memory, deletion } = result;
  const lines = [
    `${result.running} of ${count} ${image} microVMs of ${memoryMiB} MiB ran, ${concurrency} in flight: ${duration(result.wallMs)}, ${result.startsPerSecond.toFixed(1)} per second`,
    '',
    phaseTable(phases),
    '',
    memory
      ? `VMM memory beyond guest pages: ${(memory.vmmOverheadKiB / 1_024).toFixed(3)} MiB private, mean of ${memory.microvms}`
      : 'VMM memory: no density report counted them all in time',
    `deleted: ${duration(deletion.wallMs)}, ${deletion.perSecond.toFixed(1)} per second; ${result.left} left`,
    ...Object.entries(result.failures).map(([reason, times]) => `failed ${times} times: ${reason}`),
  ];
  return `${lines.join('\n')}\n`;
}

function worst(failures: Record<string, number>): string {
  return Object.entries(failures).sort(([, a], [, b]) => b - a)[0]?.[0] ?? 'interrupted';
}
