import type { Command } from 'commander';
import { cpus } from 'node:os';
import type { Host } from '#protocol';
import { contextOf } from '../../commands/context';
import { durationOption, memoryOption, ratioOption } from '../../commands/option-types';
import { CliError } from '../../errors';
import { FLEET_READY_MS, OwnFleet } from '../density/own-fleet';
import { surroundings } from '../surroundings';
import { benchMix, type MixParameters } from './mix.bench';

interface MixOptions {
  ratio: number;
  guaranteed: number;
  memory: number;
  duration: number;
  ready: number;
}

export function addMixBenchCommand(bench: Command): void {
  bench
    .command('mix')
    .description(
      'oversubscribe one host of its own with a mixed load, and see whether what is guaranteed is kept; prints JSON',
    )
    .option('--ratio <ratio>', 'commitment of CPU and of memory', ratioOption, 10)
    .option('--guaranteed <ratio>', 'the part of the CPU commitment that is guaranteed', ratioOption, 1)
    .option(
      '--memory <MiB>',
      'memory that the host lends to microVMs; a control group holds them to it',
      memoryOption,
      1_024,
    )
    .option('--duration <duration>', 'how long it is measured', durationOption, 90_000)
    .option('--ready <duration>', 'how long the fleet may take to come up', durationOption, FLEET_READY_MS)
    .action(async (options: MixOptions, command: Command) => {
      const { out } = contextOf(command);
      const parameters: MixParameters = {
        ratio: options.ratio,
        guaranteed: options.guaranteed,
        cpus: cpus().length,
        memoryMiB: options.memory,
        seconds: Math.round(options.duration / 1_000),
      };
      const abort = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => abort.abort());
      const at = new Date().toISOString();
      // The agent takes its settings from the environment.
      process.env['VOLLEY_MEMORY_MIB'] = String(options.memory);
      process.env['VOLLEY_RESERVE_MIB'] = '0';
      process.env['VOLLEY_NETWORK'] = 'off';
      process.env['VOLLEY_OVERSUBSCRIPTION'] = JSON.stringify({
        policy: { kind: 'fixedRatio', cpu: options.ratio, memory: options.ratio },
        guaranteed: { cpu: options.guaranteed, memory: 1 },
      });
      const overcommit = { cpu: options.ratio, memory: options.ratio };
      const fleet = await OwnFleet.up({ overcommit, readyMs: options.ready });
      try {
        const result = await benchMix(fleet.client, parameters, abort.signal, (text) => out.note(text));
        const { items: hosts } = await fleet.client.get<{ items: Host[] }>('/v1/hosts');
        out.document({ bench: 'mix', at, parameters, ...surroundings(hosts, fleet.folder.path), result });
        const missed = Object.entries(result.bars).flatMap(([name, reached]) => (reached ? [] : [name]));
        if (abort.signal.aborted) process.exitCode = 130;
        else if (missed.length > 0) throw new CliError(`not reached: ${missed.join(', ')}`);
      } finally {
        await fleet.down();
      }
    });
}
