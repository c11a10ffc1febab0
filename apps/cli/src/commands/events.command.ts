import type { Command } from 'commander';
import type { GroupHistoryEntry, GroupSummary, HostRecord, MicrovmRecord } from '#protocol';
import { setTimeout as pause } from 'node:timers/promises';
import { CliError } from '../errors';
import { clock } from '../output/quantities';
import { printable } from '../output/table';
import { resolveId } from '../rest/resolve-id';
import { RestError } from '../rest/rest-error';
import { contextOf } from './context';
import { told } from './history.command';

type Change =
  | { sequence: number; record: MicrovmRecord | HostRecord }
  | { sequence: number; group: GroupSummary; record: GroupHistoryEntry };

const RETRY_MS = 1_000;

export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .description(
      'follow every change of the fleet, until Ctrl-C; nothing is missed when the gateway restarts meanwhile',
    )
    .option('--microvm <id>', 'only of this microVM')
    .option('--group <id>', 'only of this group, as TENANT_NAME')
    .option('--since <event-id>', "from after this event; '0.0.0' is the beginning of all histories")
    .action(async (options: { microvm?: string; group?: string; since?: string }, command: Command) => {
      const { client, out } = contextOf(command);
      const microvm = options.microvm === undefined ? undefined : await resolveId(client, options.microvm);
      let last = options.since;
      let connected = false;
      for (;;) {
        try {
          const headers: Record<string, string> = last === undefined ? {} : { 'last-event-id': last };
          const query = { microvm, group: options.group };
          for await (const { id, event, data } of client.events('/v1/events', { query, headers })) {
            connected = true;
            last = id;
            const change = JSON.parse(data) as Change;
            if (out.json) out.entry({ id, event, ...change });
            else if (event === 'reset')
              out.note('the histories do not reach back that far; some changes are missing here');
            else out.line(lineOf(change));
          }
        } catch (error) {
          if (!connected || error instanceof RestError || !(error instanceof CliError)) throw error;
          out.note(`${error.message}; trying again`);
        }
        await pause(RETRY_MS);
      }
    });
}

function lineOf(change: Change): string {
  const { at, events, cause } = change.record;
  const [subject, way] =
    'group' in change
      ? [`group ${change.group.id}`, change.group.state]
      : [subjectOf(change.record), wayOf(change.record)];
  return `${clock(at)}  ${subject}  ${way}  ${printable(events.map(told).join('; '))}  [${cause.kind} ${printable(cause.by)}]`;
}

function subjectOf(record: MicrovmRecord | HostRecord): string {
  return 'microvmId' in record ? record.microvmId : `host ${record.hostId}`;
}

function wayOf({ from, to }: MicrovmRecord | HostRecord): string {
  return from === to ? to : `${from ?? '(new)'} -> ${to}`;
}
