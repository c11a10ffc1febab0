import type { Command } from 'commander';
import type { HistoryEntry, Microvm, TuningRecord } from '#protocol';
import { clock, duration } from '../output/quantities';
import { printable, table } from '../output/table';
import { toldTuning } from '../output/told-tuning';
import { instant } from '../past/instant';
import { resolveId } from '../rest/resolve-id';
import { contextOf } from './context';

interface History {
  id: string;
  entries: HistoryEntry[];
  microvm: Microvm | null;
}

export function addHistoryCommand(program: Command): void {
  program
    .command('history <id>')
    .description('every step of the life of a microVM: when, why, how long it took; also after its end')
    .option('--at <time>', 'only what had happened by then, and its state then: ISO 8601 with a zone, or ms since 1970')
    .action(async (name: string, { at }: { at?: string }, command: Command) => {
      const { client, out } = contextOf(command);
      const id = await resolveId(client, name);
      const history = await client.get<History>(`/v1/microvms/${id}/history`, {
        query: { at: at === undefined ? undefined : instant(at) },
      });
      if (out.json) return out.document(history);
      out.line(
        table(
          [
            { title: 'TIME', value: (entry) => clock(entry.at) },
            {
              title: 'AFTER',
              value: ({ latencyMs }) => (latencyMs === null ? null : duration(latencyMs)),
              align: 'right',
            },
            { title: 'FROM', value: ({ from }) => from },
            { title: 'TO', value: ({ to }) => to },
            {
              title: 'CAUSE',
              value: ({ cause }) => (cause.by === cause.kind ? cause.by : `${cause.kind} ${cause.by}`),
            },
            { title: 'WHAT HAPPENED', value: ({ events }) => events.map(told).join('; ') },
          ],
          history.entries,
        ),
      );
      if (at === undefined) return;
      const then = history.microvm;
      out.line();
      out.line(
        then
          ? `At ${at} it was ${then.state}${then.reason ? ` (${printable(then.reason)})` : ''}.`
          : `At ${at} it did not exist yet.`,
      );
    });
}

/** An event in a few words: its type and the fields that tell people something. */
export function told(event: { type: string; [field: string]: unknown }): string {
  const field = (name: string): string | undefined => {
    const value = event[name];
    return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
  };
  const tuning = event['tuning'] as TuningRecord | undefined;
  const exit = event['exit'] as { reason?: string; message?: string } | undefined;
  const parts = [
    field('microvmId'),
    field('hostId') && `on ${field('hostId')}`,
    field('epoch') && `epoch ${field('epoch')}`,
    field('pid') && `pid ${field('pid')}`,
    field('as') && `as ${field('as')}`,
    field('command'),
    field('timer'),
    tuning && toldTuning(tuning),
    exit && `${exit.reason}: ${exit.message}`,
    field('reason'),
  ].filter(Boolean);
  return parts.length === 0 ? event.type : `${event.type} (${parts.join(', ')})`;
}
