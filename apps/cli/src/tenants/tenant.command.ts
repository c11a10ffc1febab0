import type { Command } from 'commander';
import type { Tenant } from '#protocol';
import { contextOf } from '../commands/context';
import { listOption } from '../commands/option-types';
import { mebibytes } from '../output/quantities';
import { table } from '../output/table';
import { RestError } from '../rest/rest-error';
import { changed, countOrNone, memoryOrNone, rateOrNone, type BoundOptions } from './bounds';

export function addTenantCommand(program: Command): void {
  const tenant = program.command('tenant').description('put tenants on record, bound what they hold, list them');
  tenant
    .command('set <id>')
    .description('put a tenant on record, or change the bounds that are named; a bound of "none" is lifted')
    .option('--max-microvms <n>', 'most microVMs, stopped ones too', countOrNone)
    .option('--max-vcpus <n>', 'most vCPUs of those that have or want a host', countOrNone)
    .option('--max-memory <size>', 'most memory of those, such as 512M or 64G', memoryOrNone)
    .option('--creates-per-second <n>', 'most creates per second', rateOrNone)
    .option('--requests-per-second <n>', 'most REST calls per second over all its tokens', rateOrNone)
    .option('--dedicated', 'share hosts with no other tenant')
    .option('--shared', 'share hosts with others')
    .option('--never-with <ids>', 'share no host with these tenants; "" with anybody again', (text) => listOption(text))
    .action(async (id: string, options: BoundOptions, command: Command) => {
      const { client, out } = contextOf(command);
      const path = `/v1/tenants/${encodeURIComponent(id)}`;
      const now = await client.get<Tenant>(path).catch((error: unknown) => {
        if (error instanceof RestError && error.status === 404) return undefined;
        throw error;
      });
      const set = await client.json<Tenant>('PUT', path, { body: changed(now, options) });
      if (out.json) out.document(set);
      else out.line(tableOf([set]));
    });
  tenant
    .command('list', { isDefault: true })
    .description('list the tenants on record')
    .action(async (_options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const { items } = await client.get<{ items: Tenant[] }>('/v1/tenants');
      if (out.json) out.document({ items });
      else out.line(tableOf(items));
    });
  tenant
    .command('delete <id>')
    .description('take a tenant without microVMs off the record and revoke its tokens')
    .action(async (id: string, _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const answer = await client.delete<{ revokedTokens: number }>(`/v1/tenants/${encodeURIComponent(id)}`);
      if (out.json) out.document(answer);
      else out.line(`${id} is gone; ${answer.revokedTokens} tokens were revoked`);
    });
}

function tableOf(tenants: readonly Tenant[]): string {
  return table(
    [
      { title: 'TENANT', value: ({ id }) => id },
      { title: 'MICROVMS', value: ({ quotas }) => quotas.microvms, align: 'right' },
      { title: 'VCPUS', value: ({ quotas }) => quotas.vcpus, align: 'right' },
      {
        title: 'MEMORY',
        value: ({ quotas: { memoryMiB } }) => (memoryMiB === undefined ? null : mebibytes(memoryMiB)),
        align: 'right',
      },
      { title: 'CREATES/S', value: ({ quotas }) => quotas.createsPerSecond, align: 'right' },
      { title: 'REQUESTS/S', value: ({ requestsPerSecond }) => requestsPerSecond, align: 'right' },
      { title: 'HOSTS', value: ({ coresidency }) => coresidency.mode },
      { title: 'NEVER WITH', value: ({ coresidency }) => coresidency.neverWith.join(', ') },
    ],
    tenants,
  );
}
