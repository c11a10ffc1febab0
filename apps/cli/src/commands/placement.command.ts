import type { Command } from 'commander';
import { readFileSync } from 'node:fs';
import type { MicrovmSpecInput, Receipt } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import type { Output } from '../output/output';
import { clock, mebibytes } from '../output/quantities';
import { printable, table } from '../output/table';
import { resolveId } from '../rest/resolve-id';
import { contextOf } from './context';
import { labelOption, listOption, memoryOption, wholeNumber } from './option-types';
import { addPlacementOptions, placementOf, type PlacementOptions } from './placement-options';

interface DryRunOptions extends PlacementOptions {
  vcpus?: number;
  memory?: number;
  tenant?: string;
  label?: Record<string, string>;
  count: number;
  exclude?: string[];
  file?: string;
}

export function addPlacementCommand(program: Command): void {
  const placement = program
    .command('placement <id>')
    .alias('receipt')
    .description('why a microVM is on its host, or on none: the receipt of every placement')
    .action(async (name: string, _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const id = await resolveId(client, name);
      const answer = await client.get<{ receipts: Receipt[] }>(`/v1/microvms/${id}/placement`);
      if (out.json) return out.document(answer);
      if (answer.receipts.length === 0) return out.line('It was never placed.');
      answer.receipts.forEach((receipt, i) => {
        if (i > 0) out.line();
        showReceipt(out, receipt, `epoch ${receipt.epoch}`);
      });
    });
  addPlacementOptions(placement.command('dry-run [image]'))
    .description('where microVMs would be placed now, one after the other; changes nothing')
    .option('--vcpus <n>', 'virtual CPUs (default 1)', wholeNumber(0))
    .option('--memory <MiB>', 'memory, in MiB or as 2G (default 128)', memoryOption)
    .option('--label <key=value>', 'a label; may be repeated', labelOption)
    .option('--tenant <name>', 'whose they are')
    .option('--count <n>', 'how many of them', wholeNumber(1), 1)
    .option('--exclude <host>', 'as if this host were not there; may be repeated', listOption)
    .option('--file <path>', 'in place of an image: a JSON file with an array of {"spec", "count"}')
    .action(async (image: string | undefined, options: DryRunOptions, command: Command) => {
      const { client, out } = contextOf(command);
      const body = { placements: placementsOf(image, options), excluded: options.exclude };
      const answer = await client.post<{ receipts: Receipt[] }>('/v1/placement/dry-run', { body });
      if (out.json) return out.document(answer);
      const { receipts } = answer;
      if (receipts.length === 1) return showReceipt(out, receipts[0]!, 'dry run');
      out.line(
        table(
          [
            { title: '#', value: (receipt) => String(receipts.indexOf(receipt) + 1), align: 'right' },
            { title: 'HOST', value: ({ hostId }) => hostId ?? 'none' },
            { title: 'IMAGE', value: ({ demand }) => printable(demand.image) },
            { title: 'WHY', value: ({ reason }) => printable(reason) },
          ],
          receipts,
        ),
      );
    });
}

function placementsOf(image: string | undefined, options: DryRunOptions): unknown {
  if ((image === undefined) === (options.file === undefined))
    throw new CliError('give an image, or --file with several specs', ExitCode.usage);
  if (options.file !== undefined) return readPlacements(options.file);
  const spec: Partial<MicrovmSpecInput> = {
    image: image!,
    ...(options.vcpus === undefined ? {} : { vcpus: options.vcpus }),
    ...(options.memory === undefined ? {} : { memoryMiB: options.memory }),
    ...(options.label === undefined ? {} : { labels: options.label }),
    ...(options.tenant === undefined ? {} : { tenant: options.tenant }),
    ...(placementOf(options) === undefined ? {} : { placement: placementOf(options) }),
  };
  return [{ spec, count: options.count }];
}

function readPlacements(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as unknown;
  } catch (error) {
    throw new CliError(`${path} cannot be read as JSON: ${(error as Error).message}`, ExitCode.usage);
  }
}

function showReceipt(out: Output, receipt: Receipt, title: string): void {
  const { demand, omitted } = receipt;
  out.line(`${title}  ${clock(receipt.at)}  ${receipt.hostId ?? 'no host'}: ${printable(receipt.reason)}`);
  out.line(
    `asked for ${demand.vcpus} vCPU, ${mebibytes(demand.memoryMiB)}, image ${printable(demand.image)}, tenant ${printable(demand.tenant)}`,
  );
  out.line(
    table(
      [
        { title: 'HOST', value: ({ hostId }) => hostId },
        { title: 'VERDICT', value: ({ verdict }) => verdict },
        { title: 'SCORE', value: ({ total }) => total?.toFixed(3), align: 'right' },
        {
          title: 'SCORES',
          value: ({ scores }) => scores.map((one) => `${one.name} ${one.value.toFixed(3)} x ${one.weight}`).join(', '),
        },
        {
          title: 'FILTERS',
          value: ({ filters }) =>
            filters
              .filter(({ passed }) => !passed)
              .map((one) => `${one.name}: ${printable(one.detail)}`)
              .join('; ') || 'all passed',
        },
      ],
      receipt.hosts,
    ),
  );
  if (omitted > 0) out.line(`and ${omitted} more hosts`);
}
