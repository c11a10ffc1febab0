import { InvalidArgumentError, type Command } from 'commander';
import { contextOf } from '../../commands/context';
import { durationOption, memoryOption, wholeNumber } from '../../commands/option-types';
import { surroundings } from '../surroundings';
import { benchWhatIf } from './whatif.bench';

interface WhatIfBenchOptions {
  seeds: number[];
  ratios: number[];
  waits: number[];
  hosts: number;
  hostMemory: number;
  creates: number;
  perSecond: number;
  meanLife: number;
  runs: number;
}

export function addWhatIfBenchCommand(bench: Command): void {
  bench
    .command('whatif')
    .description(
      'measure how far what-ifs are from what then happens, on a plane of its own with scripted hosts; prints JSON',
    )
    .option('--seeds <list>', 'seeds of the demand', numbers(0), [42, 43, 44])
    .option(
      '--ratios <list>',
      'memory ratios, each predicted from the record of each other',
      numbers(0.01),
      [1, 1.5, 2, 3],
    )
    .option('--waits <list>', 'how long creates wait for a host, s; 0: they fail at once', numbers(0), [0, 2])
    .option('--hosts <n>', 'scripted hosts', wholeNumber(1, 1_000), 3)
    .option('--host-memory <size>', 'memory of each', memoryOption, 1_792)
    .option('--creates <n>', 'creates in each run', wholeNumber(10, 100_000), 1_000)
    .option('--per-second <n>', 'creates a second', wholeNumber(1, 1_000), 40)
    .option('--mean-life <duration>', 'mean life of a microVM', durationOption, 4_000)
    .option('--runs <n>', 'replays of each prediction', wholeNumber(1, 50), 5)
    .action(async (options: WhatIfBenchOptions, command: Command) => {
      const { out, data } = contextOf(command);
      const { waits: waitSeconds, hostMemory: hostMemoryMiB, meanLife: meanLifeMs, ...rest } = options;
      const parameters = { ...rest, waitSeconds, hostMemoryMiB, meanLifeMs };
      const at = new Date().toISOString();
      const result = await benchWhatIf(parameters, (text) => out.note(text));
      out.document({ bench: 'whatif', at, parameters, ...surroundings([], data), result });
    });
}

/** For `--ratios 1,1.5,3`: numbers of at least `least`. */
function numbers(least: number) {
  return (text: string): number[] => {
    const values = text.split(',').map(Number);
    if (values.every((value) => value >= least)) return values;
    throw new InvalidArgumentError(`It must be numbers of at least ${least}, separated by commas.`);
  };
}
