import type { Command } from 'commander';
import { groupsTable } from '../commands/group.command';
import type { GroupSummary, Host, Microvm } from '#protocol';
import { contextOf, type Context } from '../commands/context';
import { listOption, wholeNumber } from '../commands/option-types';
import { clock } from '../output/quantities';
import { printable, table } from '../output/table';
import { instant, INSTANT_HELP, REPLAY_DEADLINE_MS } from './instant';

interface Page {
  at: string;
  items: Microvm[];
  nextCursor: string | null;
  hosts?: Host[];
  groups?: GroupSummary[];
  states: Record<string, number>;
  compactedBefore: string | null;
}

interface FleetOptions {
  at?: string;
  state?: string[];
  host?: string;
  tenant?: string;
  limit: number;
}

export function addFleetCommand(program: Command): void {
  program
    .command('fleet')
    .description('every host, group and microVM as it is, or as it was at an instant')
    .option('--at <time>', `the instant: ${INSTANT_HELP}`)
    .option('--state <state>', 'only microVMs in this state; may be repeated', listOption)
    .option('--host <id>', 'only microVMs on this host')
    .option('--tenant <name>', 'only microVMs of this tenant')
    .option('--limit <n>', 'show so many microVMs at most', wholeNumber(1), 1_000)
    .action(async ({ at, limit, ...filter }: FleetOptions, command: Command) => {
      const { client, out } = contextOf(command);
      const query = { ...filter, at: at === undefined ? undefined : instant(at) };
      const fleet = await read(client, query, limit);
      if (out.json) return out.document(fleet);
      const sums = Object.entries(fleet.states).map(([state, count]) => `${count} ${state}`);
      out.line(`${clock(fleet.at)}: ${sums.length === 0 ? 'no microVMs' : sums.sort().join(', ')}`);
      out.line();
      out.line(
        table(
          [
            { title: 'HOST', value: ({ id }) => id },
            { title: 'STATE', value: ({ state }) => state },
          ],
          fleet.hosts ?? [],
        ),
      );
      out.line();
      if (fleet.groups?.length) {
        out.line(groupsTable(fleet.groups, Date.parse(fleet.at)));
        out.line();
      }
      out.line(
        table(
          [
            { title: 'ID', value: ({ id }) => id },
            { title: 'NAME', value: ({ name }) => name },
            { title: 'STATE', value: ({ state }) => state },
            { title: 'HOST', value: ({ hostId }) => hostId },
            { title: 'EPOCH', value: ({ epoch }) => epoch, align: 'right' },
            { title: 'TENANT', value: ({ tenant }) => tenant },
            { title: 'REASON', value: ({ reason }) => printable(reason) },
          ],
          fleet.items,
        ),
      );
      if (fleet.nextCursor !== null) out.line(`... and more; --limit shows more than ${limit}`);
      if (fleet.compactedBefore !== null) {
        out.line();
        out.line(
          `MicroVMs that were deleted before ${clock(fleet.compactedBefore)} may be missing: see volley retention`,
        );
      }
    });
}

/** All pages up to `limit` items, as one. */
async function read(client: Context['client'], query: Record<string, string | string[] | undefined>, limit: number) {
  let all: Page | undefined;
  for (let cursor: string | undefined; ;) {
    const left = limit - (all?.items.length ?? 0);
    const page: Page = await client.get('/v1/fleet', {
      query: { ...query, limit: Math.min(1_000, left), cursor },
      deadlineMs: REPLAY_DEADLINE_MS,
    });
    all = all ? { ...all, items: [...all.items, ...page.items], nextCursor: page.nextCursor } : page;
    if (page.nextCursor === null || all.items.length >= limit) return all;
    cursor = page.nextCursor;
  }
}
