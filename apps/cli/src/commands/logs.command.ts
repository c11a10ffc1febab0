import type { Command } from 'commander';
import type { Microvm } from '#protocol';
import { setTimeout as pause } from 'node:timers/promises';
import { resolveId } from '../rest/resolve-id';
import { contextOf } from './context';

const POLL_MS = 250;
const OVER = ['stopped', 'failed', 'deleted'];

interface Log {
  text: string;
  from: number;
  to: number;
}

export function addLogsCommand(program: Command): void {
  program
    .command('logs <id>')
    .description('print the serial console of a microVM')
    .option('-f, --follow', 'go on printing until it ends')
    .option('--bytes <n>', 'only the last so many bytes')
    .action(async (name: string, options: { follow?: boolean; bytes?: string }, command: Command) => {
      const { client, out } = contextOf(command);
      const id = await resolveId(client, name);
      let since: number | undefined;
      for (;;) {
        // Asked before the log, so that what it wrote last is not missed.
        const over = options.follow && OVER.includes((await client.get<Microvm>(`/v1/microvms/${id}`)).state);
        const log = await client.get<Log>(`/v1/microvms/${id}/log`, {
          query: { since, maxBytes: since === undefined ? options.bytes : undefined },
        });
        if (since !== undefined && log.from > since)
          out.note(`... ${log.from - since} bytes were overwritten before they were read ...`);
        if (out.json) {
          if (!options.follow || log.text !== '') out.entry(log);
        } else out.raw(log.text);
        if (!options.follow || (over && log.text === '')) return;
        // A start as a new incarnation counts from zero again.
        since = log.to < (since ?? 0) ? 0 : log.to;
        if (log.text === '') await pause(POLL_MS);
      }
    });
}
