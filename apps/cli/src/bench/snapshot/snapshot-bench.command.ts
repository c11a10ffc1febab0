import type { Command } from 'commander';
import { resolve } from 'node:path';
import { outputOf, type GlobalOptions } from '../../commands/context';
import { memoryOption, wholeNumber } from '../../commands/option-types';
import { thisHost } from '../../doctor/host-view';
import { kvmAccess } from '../../doctor/kvm-access';
import { CliError } from '../../errors';
import { canaryFiles } from '../canary-stage';
import { surroundings } from '../surroundings';
import { untilInterrupted } from '../until-interrupted';
import { benchSnapshot, type SnapshotParameters } from './snapshot.bench';

interface SnapshotBenchOptions {
  memory: number;
  touch: number;
  rates: number[];
  repeats: number;
  directory?: string;
  cold?: string;
}

const rate = wholeNumber(0, 1_000_000);

export function addSnapshotBenchCommand(bench: Command): void {
  bench
    .command('snapshot')
    .description('measure how long a running canary stands still for a snapshot, without a fleet; prints JSON')
    .option('--memory <MiB>', 'of the guest', memoryOption, 256)
    .option('--touch <MiB>', 'what the guest has touched', memoryOption, 200)
    .option(
      '--rates <MiB/s,...>',
      'how fast it writes to it',
      (text: string) => text.split(',').map(rate),
      [0, 50, 200],
    )
    .option('--repeats <n>', 'snapshots of each kind at each rate', wholeNumber(1, 1_000), 5)
    .option('--directory <path>', 'where snapshots are written, instead of memory')
    .option(
      '--cold <directory>',
      'on a disk: also suspend one there, and have it go on when it is not in the page cache',
    )
    .action(async (options: SnapshotBenchOptions, command: Command) => {
      const data = resolve(command.optsWithGlobals<GlobalOptions>().data);
      const out = outputOf(command);
      const kvm = kvmAccess(thisHost(data));
      if (!kvm.usable) throw new CliError(`no microVM can run here: ${kvm.why}; ${kvm.todo}`);
      const parameters: SnapshotParameters = {
        memoryMiB: options.memory,
        touchMiB: options.touch,
        ratesMiB: options.rates,
        repeats: options.repeats,
        directory: options.directory,
        coldDirectory: options.cold,
      };
      const at = new Date().toISOString();
      const result = await untilInterrupted((signal) =>
        benchSnapshot(parameters, canaryFiles(), signal, (text) => out.note(text)),
      );
      out.document({ bench: 'snapshot', at, parameters, ...surroundings([], data), result });
    });
}
