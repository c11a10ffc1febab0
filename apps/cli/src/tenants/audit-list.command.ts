import type { Command } from 'commander';
import { AUDIT_EVENTS, type AuditEntry } from '#protocol';
import { Option } from 'commander';
import { contextOf } from '../commands/context';
import { durationOption, wholeNumber } from '../commands/option-types';
import { clock, duration } from '../output/quantities';
import { table } from '../output/table';

interface ListOptions {
  since: number;
  tenant?: string;
  token?: string;
  event?: string;
  status?: number;
  about?: string;
}

/** Adds `list` to the command `audit`. */
export function addAuditList(audit: Command): void {
  audit
    .command('list', { isDefault: true })
    .description('who did or tried what over REST, oldest first')
    .option('--since <time>', 'how far back, such as 30m, 24h or 7d', durationOption, 3_600_000)
    .option('--tenant <id>', 'only what was done with tokens of this tenant')
    .option('--token <id>', 'only what was done with this token')
    .addOption(new Option('--event <kind>', 'only entries of this kind').choices(AUDIT_EVENTS))
    .option('--status <n>', 'only calls answered with this status or a higher one', wholeNumber(100, 599))
    .option('--about <id>', 'only calls that named or made this id or name')
    .action(async ({ since, ...filter }: ListOptions, command: Command) => {
      const { client, out } = contextOf(command);
      const items: AuditEntry[] = [];
      for await (const entry of client.pages<AuditEntry>('/v1/audit', { from: Date.now() - since, ...filter })) {
        if (out.json) out.entry(entry);
        else items.push(entry);
      }
      if (!out.json) out.line(tableOf(items));
    });
}

function tableOf(entries: readonly AuditEntry[]): string {
  return table(
    [
      { title: 'TIME', value: ({ at }) => clock(at) },
      { title: 'WHO', value: ({ name, tokenId }) => name ?? tokenId ?? 'unknown' },
      { title: 'TENANT', value: ({ tenant }) => tenant },
      {
        title: 'WHAT',
        value: ({ event, method, route }) => (method === undefined ? event : `${method} ${route ?? '(no route)'}`),
      },
      { title: 'STATUS', value: ({ status }) => status, align: 'right' },
      { title: 'TOOK', value: ({ ms }) => (ms === undefined ? null : duration(ms)), align: 'right' },
      { title: 'FROM', value: ({ address }) => address },
      {
        title: 'ABOUT',
        value: ({ ids = {}, code, detail }) =>
          [...Object.entries(ids).map(([name, id]) => `${name}=${id}`), detail ?? code].filter(Boolean).join(' '),
      },
    ],
    entries,
  );
}
