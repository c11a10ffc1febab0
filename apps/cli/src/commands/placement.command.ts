import type { Command } from 'commander';
import type { Receipt } from '#protocol';
import { clock, mebibytes } from '../output/quantities';
import { printable, table } from '../output/table';
import { resolveId } from '../rest/resolve-id';
import { contextOf } from './context';

export function addPlacementCommand(program: Command): void {
  program
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
        const { demand } = receipt;
        if (i > 0) out.line();
        out.line(
          `epoch ${receipt.epoch}  ${clock(receipt.at)}  ${receipt.hostId ?? 'no host'}: ${printable(receipt.reason)}`,
        );
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
                value: ({ scores }) =>
                  scores.map((one) => `${one.name} ${one.value.toFixed(3)} x ${one.weight}`).join(', '),
              },
              {
                title: 'FILTERS',
                value: ({ filters }) =>
                  filters
                    .filter(({ passed }) => !passed)
                    .map((one) => `${one.name}: ${one.detail}`)
                    .join('; ') || 'all passed',
              },
            ],
            receipt.hosts,
          ),
        );
      });
    });
}
