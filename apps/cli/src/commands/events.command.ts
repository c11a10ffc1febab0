import type { Command } from 'commander';
import type { HostRecord, MicrovmRecord } from '#protocol';
import { setTimeout as pause } from 'node:timers/promises';
import { CliError } from '../errors';
import { clock } from '../output/quantities';
import { printable } from '../output/table';
import { resolveId } from '../rest/resolve-id';
import { RestError } from '../rest/rest-error';
import { contextOf } from './context';
import { told } from './history.command';

interface Change {
  sequence: number;
  record: MicrovmRecord | HostRecord;
}

const RETRY_MS = 1_000;

export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .description(
      'follow every change of the fleet, until Ctrl-C; nothing is missed when the gateway restarts meanwhile',
    )
    .option('--microvm <id>', 'only of this microVM')
    .option('--since <event-id>', "from after this event; '0.0' is the beginning of all histories")
    .action(async (options: { microvm?: string; since?: string }, command: Command) => {
      const { client, out } = contextOf(command);
      const microvm = options.microvm === undefined ? undefined : await resolveId(client, options.microvm);
      let last = options.since;
      let connected = false;
      for (;;) {
        try {
          const headers: Record<string, string> = last === undefined ? {} : { 'last-event-id': last };
          for await (const { id, event, data } of client.events('/v1/events', { query: { microvm }, headers })) {
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

function lineOf({ record }: Change): string {
  const subject = 'microvmId' in record ? record.microvmId : `host ${record.hostId}`;
  const way = record.from === record.to ? record.to : `${record.from ?? '(new)'} -> ${record.to}`;
  return `${clock(record.at)}  ${subject}  ${way}  ${printable(record.events.map(told).join('; '))}  [${record.cause.kind} ${printable(record.cause.by)}]`;
}
