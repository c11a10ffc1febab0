import type { Command } from 'commander';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { resolve } from 'node:path';
import { outputOf, type GlobalOptions } from '../../commands/context';
import { memoryOption, wholeNumber } from '../../commands/option-types';
import { kvmAccess } from '../../doctor/kvm-access';
import { thisHost } from '../../doctor/host-view';
import { CliError } from '../../errors';
import { canaryFiles } from '../canary-stage';
import { svgOf } from '../plot/svg-plot';
import { surroundings } from '../surroundings';
import { untilInterrupted } from '../until-interrupted';
import { clonePlots } from './clone-plots';
import { benchClone, type CloneParameters } from './clone.bench';

interface CloneBenchOptions {
  count: number;
  concurrency: number;
  memory: number;
  touch: number;
  coldStarts: number;
  cold?: string;
  shells: boolean;
  primed: boolean;
  plot?: string;
}

export function addCloneBenchCommand(bench: Command): void {
  bench
    .command('clone')
    .description('measure clones of a canary template on this host, without a fleet; prints JSON')
    .option('--count <n>', 'clones, all alive at the end', wholeNumber(1, 20_000), 1_000)
    .option('--concurrency <n>', 'clones being started at any time', wholeNumber(1, 1_000), cpus().length)
    .option('--memory <MiB>', 'of the guest', memoryOption, 64)
    .option('--touch <MiB>', 'what the template has touched', memoryOption, 32)
    .option('--cold-starts <n>', 'starts from a kernel, to compare with', wholeNumber(0, 10_000), 200)
    .option('--cold <directory>', 'on a disk: also clone a template there that is not in the page cache')
    .option('--no-shells', 'make and jail each process as part of its clone')
    .option('--no-primed', 'into shells that are nothing but jailed, as starts find them that no pool is kept for')
    .option('--plot <file>', 'draw latency over the number of clones, as SVG')
    .action(async (options: CloneBenchOptions, command: Command) => {
      const data = resolve(command.optsWithGlobals<GlobalOptions>().data);
      const out = outputOf(command);
      const kvm = kvmAccess(thisHost(data));
      if (!kvm.usable) throw new CliError(`no microVM can run here: ${kvm.why}; ${kvm.todo}`);
      const parameters: CloneParameters = {
        count: options.count,
        concurrency: options.concurrency,
        memoryMiB: options.memory,
        touchMiB: options.touch,
        shells: options.shells,
        primed: options.shells && options.primed,
        coldStarts: options.coldStarts,
        coldDirectory: options.cold,
      };
      const files = canaryFiles();
      const at = new Date().toISOString();
      const result = await untilInterrupted((signal) =>
        benchClone(parameters, files, signal, (text) => out.note(text)),
      );
      if (options.plot !== undefined) writeFileSync(options.plot, svgOf(clonePlots(result)));
      out.document({ bench: 'clone', at, parameters, ...surroundings([], data), result });
      if (result.failed > 0) throw new CliError(`${result.failed} of ${options.count} clones did not run`);
    });
}
