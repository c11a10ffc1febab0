import type { Command } from 'commander';
import type { Host } from '#protocol';
import { age, mebibytes } from '../output/quantities';
import { table } from '../output/table';
import { contextOf } from './context';
import { toldPolicy } from './told-policy';
import { hostHistoryTable, type HostHistory } from './host-history';

export function addHostsCommand(program: Command): void {
  const hosts = program.command('hosts').description('list hosts, or change what they take');
  hosts
    .command('list', { isDefault: true })
    .description('list hosts')
    .action(async (_options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const { items } = await client.get<{ items: Host[] }>('/v1/hosts');
      if (out.json) return out.document({ items });
      const now = Date.now();
      out.line(
        table(
          [
            { title: 'HOST', value: ({ id }) => id },
            { title: 'STATE', value: ({ state }) => state },
            { title: 'KVM', value: ({ description: { kvm } }) => (kvm.available ? (kvm.kind ?? 'yes') : 'none') },
            { title: 'LINUX', value: ({ description: { linux } }) => (linux?.available ? 'yes' : 'no') },
            { title: 'CPUS', value: ({ description }) => description.cpus, align: 'right' },
            { title: 'MEMORY', value: ({ description }) => mebibytes(description.memoryMiB), align: 'right' },
            { title: 'SLOTS', value: ({ description }) => description.slots, align: 'right' },
            {
              title: 'OVERCOMMIT',
              // Of its class, or its own where the class is not on record.
              value: ({ policy, description: { overcommit } }) =>
                toldPolicy(policy?.settings?.policy ?? { kind: 'fixedRatio', ...overcommit }),
            },
            { title: 'CLASS', value: ({ hostClass }) => hostClass.name },
            { title: 'KERNEL', value: ({ description }) => description.kernel },
            { title: 'AGE', value: ({ createdAt }) => age(now - Date.parse(createdAt)), align: 'right' },
          ],
          items,
        ),
      );
    });
  hosts
    .command('history <host>')
    .description('what became of a host, and what its guards did and why')
    .option('--limit <n>', 'how many of the latest entries', Number, 100)
    .action(async (id: string, { limit }: { limit: number }, command: Command) => {
      const { client, out } = contextOf(command);
      const history = await client.get<HostHistory>(`/v1/hosts/${encodeURIComponent(id)}/history`, {
        query: { limit },
      });
      if (out.json) out.document(history);
      else out.line(hostHistoryTable(history));
    });
  for (const [verb, description] of [
    ['cordon', 'put no new microVMs on a host; those there stay'],
    ['uncordon', 'let a host take new microVMs again'],
    ['retire', 'declare that a lost host never returns'],
  ] as const) {
    hosts
      .command(`${verb} <host>`)
      .description(description)
      .action(async (id: string, _options: object, command: Command) => {
        const { client, out } = contextOf(command);
        const host = await client.post<Host>(`/v1/hosts/${encodeURIComponent(id)}/${verb}`, { body: {} });
        if (out.json) out.document(host);
        else out.line(`${host.id} ${host.state}`);
      });
  }
}
