import { Argument, Option, type Command } from 'commander';
import type { Microvm, Tuning } from '#protocol';
import { toldTuning } from '../output/told-tuning';
import { resolveId } from '../rest/resolve-id';
import { contextOf } from './context';
import { bytesOption, labelOption, memoryOption, wholeNumber } from './option-types';

interface LimitOptions {
  direction?: 'receive' | 'send';
  bytes?: number;
  burstBytes?: number;
  operations?: number;
  burstOperations?: number;
}

/** `volley tune WHAT ID ...`: changes that last until the microVM ends. */
export function addTuneCommands(program: Command): void {
  const tune = program
    .command('tune')
    .description('change limits, balloon or metadata of a running microVM; lasts until it ends');
  tune
    .command('limit <id> <device>')
    .description(
      'limit root (the writable layer of an image), disk0, disk1, ..., network or console; without rates: lift it',
    )
    .addOption(new Option('--direction <which>', 'of the network only; else both').choices(['receive', 'send']))
    .option('--bytes <n>', 'bytes per second, such as 500K or 10M', bytesOption)
    .option('--burst-bytes <n>', 'so many more, once', bytesOption)
    .option('--operations <n>', 'requests or packets per second', wholeNumber(1))
    .option('--burst-operations <n>', 'so many more, once', wholeNumber(0))
    .action((name: string, device: string, options: LimitOptions, command: Command) => {
      const { direction, bytes, burstBytes, operations, burstOperations } = options;
      const limit = {
        ...given('bytesPerSecond', bytes),
        ...given('burstBytes', burstBytes),
        ...given('operationsPerSecond', operations),
        ...given('burstOperations', burstOperations),
      };
      return apply(command, name, { kind: 'limit', device, limit, ...(direction ? { direction } : {}) });
    });
  tune
    .command('balloon <id>')
    .description('take this much memory from the guest, or give it back')
    .addArgument(new Argument('<MiB>', 'in MiB, or as 1G; 0 gives all back').argParser(memoryOption))
    .action((name: string, mib: number, _options: object, command: Command) =>
      apply(command, name, { kind: 'balloon', mib }),
    );
  tune
    .command('metadata <id>')
    .description('replace all values that it can read')
    .addArgument(new Argument('[key=value...]').argParser(labelOption).default({}, 'none: it has none any more'))
    .action((name: string, values: Record<string, string>, _options: object, command: Command) =>
      apply(command, name, { kind: 'metadata', values }),
    );
  tune
    .command('ctrl-alt-del <id>')
    .description('press Ctrl-Alt-Del')
    .action((name: string, _options: object, command: Command) => apply(command, name, { kind: 'ctrlAltDel' }));
}

function given<Name extends string>(name: Name, value: number | undefined): { [N in Name]?: number } {
  return value === undefined ? {} : ({ [name]: value } as { [N in Name]?: number });
}

async function apply(command: Command, name: string, tuning: Tuning): Promise<void> {
  const { client, out } = contextOf(command);
  const id = await resolveId(client, name);
  const { body } = await client.answer<Microvm>('POST', `/v1/microvms/${id}/tune`, { body: tuning });
  if (out.json) return out.document(body);
  out.line(`${id} ${body.state}: ${body.tuned.map(toldTuning).join(', ') || 'as its spec says'}`);
}
