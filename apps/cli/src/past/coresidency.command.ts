import type { Command } from 'commander';
import type { HostCoresidency } from '#protocol';
import { contextOf } from '../commands/context';
import { clock, duration } from '../output/quantities';
import { table } from '../output/table';
import { instant, INSTANT_HELP, REPLAY_DEADLINE_MS } from './instant';

interface Coresidency {
  tenant: string;
  from: string;
  to: string;
  hosts: HostCoresidency[];
  unknown: number;
}

interface Options {
  tenant: string;
  from: string;
  to?: string;
}

export function addCoresidencyCommand(program: Command): void {
  program
    .command('coresidency')
    .description('who shared a host with a tenant between two instants')
    .requiredOption('--tenant <id>', 'the tenant')
    .requiredOption('--from <time>', INSTANT_HELP)
    .option('--to <time>', `${INSTANT_HELP}; default: now`)
    .action(async ({ tenant, from, to }: Options, command: Command) => {
      const { client, out } = contextOf(command);
      const found = await client.get<Coresidency>('/v1/coresidency', {
        query: { tenant, from: instant(from), to: to === undefined ? undefined : instant(to) },
        deadlineMs: REPLAY_DEADLINE_MS,
      });
      if (out.json) return out.document(found);
      const rows = found.hosts.flatMap(({ hostId, others }) =>
        others.flatMap(({ tenant: other, microvms }) =>
          microvms.flatMap(({ id, spans }) => spans.map((span) => ({ hostId, other, id, ...span }))),
        ),
      );
      if (rows.length === 0)
        out.line(`Nobody shared a host with ${tenant} from ${clock(found.from)} to ${clock(found.to)}.`);
      else
        out.line(
          table(
            [
              { title: 'HOST', value: (row) => row.hostId },
              { title: 'TENANT', value: (row) => row.other },
              { title: 'MICROVM', value: (row) => row.id },
              { title: 'FROM', value: (row) => clock(row.from) },
              { title: 'TO', value: (row) => clock(row.to) },
              { title: 'FOR', value: (row) => duration(row.to - row.from), align: 'right' },
            ],
            rows,
          ),
        );
      if (found.unknown > 0) {
        out.line();
        out.line(`Of ${found.unknown} more microVMs of that time only the end is on record: see volley retention`);
      }
    });
}
