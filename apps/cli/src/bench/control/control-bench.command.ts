import type { Command } from 'commander';
import { contextOf } from '../../commands/context';
import { wholeNumber } from '../../commands/option-types';
import { surroundings } from '../surroundings';
import { benchControl, type ControlParameters } from './control.bench';

interface ControlBenchOptions {
  controllers: number;
  hosts: number;
  microvms: number;
  concurrency: number;
  overloadSeconds: number;
}

export function addControlBenchCommand(bench: Command): void {
  bench
    .command('control')
    .description('measure the control plane alone, on a plane of its own with scripted hosts; prints JSON')
    .option('--controllers <n>', 'controllers', wholeNumber(2, 9), 2)
    .option('--hosts <n>', 'scripted hosts', wholeNumber(1, 5_000), 1_000)
    .option('--microvms <n>', 'microVMs to create, which stay', wholeNumber(100, 1_000_000), 20_000)
    .option('--concurrency <n>', 'creates in flight', wholeNumber(1, 10_000), 128)
    .option('--overload-seconds <n>', 'length of the overload', wholeNumber(1, 3_600), 60)
    .action(async (options: ControlBenchOptions, command: Command) => {
      const { out, data } = contextOf(command);
      const parameters: ControlParameters = { ...options, moderate: 0.8, overload: 2 };
      const at = new Date().toISOString();
      const result = await benchControl(parameters, (text) => out.note(text));
      out.document({ bench: 'control', at, parameters, ...surroundings([], data), result });
    });
}
