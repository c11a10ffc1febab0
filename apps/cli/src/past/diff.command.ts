import type { Command } from 'commander';
import type { GroupDifference, HostDifference, MicrovmDifference, MicrovmSituation } from '#protocol';
import { contextOf } from '../commands/context';
import { clock } from '../output/quantities';
import { table } from '../output/table';
import { instant, INSTANT_HELP, REPLAY_DEADLINE_MS } from './instant';

interface Diff {
  from: string;
  to: string;
  sums: Record<string, number>;
  items: MicrovmDifference[];
  nextCursor: string | null;
  hosts?: HostDifference[];
  groups?: GroupDifference[];
  compactedBefore: string | null;
}

export function addDiffCommand(program: Command): void {
  program
    .command('diff <from> [to]')
    .description(`what became of the fleet between two instants (${INSTANT_HELP}); without the second: until now`)
    .action(async (from: string, to: string | undefined, _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      // One instant for all pages.
      const query = {
        from: instant(from),
        to: to === undefined ? new Date().toISOString() : instant(to),
        limit: 1_000,
      };
      const read = (cursor?: string): Promise<Diff> =>
        client.get('/v1/fleet/diff', { query: { ...query, cursor }, deadlineMs: REPLAY_DEADLINE_MS });
      const diff = await read();
      for (let cursor = diff.nextCursor; cursor !== null;) {
        const page = await read(cursor);
        diff.items.push(...page.items);
        cursor = page.nextCursor;
      }
      diff.nextCursor = null;
      if (out.json) return out.document(diff);
      const { appeared = 0, changed = 0, ended = 0, cameAndWent = 0, unchanged = 0 } = diff.sums;
      out.line(`${clock(diff.from)} to ${clock(diff.to)}`);
      out.line(
        `${appeared} appeared, ${changed} changed, ${ended} ended, ${cameAndWent} came and went, ${unchanged} as before`,
      );
      for (const { id, from: was, to: is } of diff.hosts ?? []) out.line(`host ${id}: ${was ?? 'unknown'} -> ${is}`);
      for (const { id, from: was, to: is } of diff.groups ?? []) {
        out.line(`group ${id}: ${toldGroup(was) ?? 'not there'} -> ${toldGroup(is) ?? 'not there'}`);
      }
      out.line();
      out.line(
        table(
          [
            { title: 'MICROVM', value: ({ id }) => id },
            { title: 'NAME', value: ({ name }) => name },
            { title: 'CHANGE', value: ({ change }) => (change === 'cameAndWent' ? 'came and went' : change) },
            { title: 'FROM', value: ({ from: was }) => told(was) },
            { title: 'TO', value: ({ to: is }) => told(is) },
          ],
          diff.items,
        ),
      );
      if (diff.compactedBefore !== null) {
        out.line();
        out.line(
          `MicroVMs that were deleted before ${clock(diff.compactedBefore)} may be missing: see volley retention`,
        );
      }
    });
}

function toldGroup(group: GroupDifference['to']): string | undefined {
  if (!group) return undefined;
  const { state, replicas, specRevision, rollout } = group;
  const progress = rollout.state === 'done' ? '' : `, ${rollout.state}`;
  return `${state}, ${replicas} of spec ${specRevision}${progress}`;
}

function told(situation: MicrovmSituation | null): string | null {
  if (!situation) return null;
  const { state, hostId, epoch } = situation;
  return hostId === null ? state : `${state} on ${hostId}#${epoch}`;
}
