import type { Command } from 'commander';
import type { Retention } from '#protocol';
import { contextOf } from '../commands/context';
import { clock } from '../output/quantities';

export function addRetentionCommand(program: Command): void {
  program
    .command('retention')
    .description('how long histories are kept, and what has been compacted')
    .action(async (_options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const { days, compactedBefore, ranAt } = await client.get<Retention>('/v1/retention');
      if (out.json) return out.document({ days, compactedBefore, ranAt });
      out.line(
        days === null
          ? 'Histories are kept for ever (VOLLEY_RETENTION_DAYS of the controllers is not set).'
          : `Histories of microVMs that were deleted more than ${days} days ago are compacted to their end.`,
      );
      if (compactedBefore !== null) {
        out.line(`Of those that were deleted before ${clock(compactedBefore)} what came before may be gone.`);
      }
      if (ranAt !== null) out.line(`All were gone through at ${clock(ranAt)}.`);
    });
}
